"""The verb `ngram`: a Markov chain counted from a text, as a table, as a source of new text, and as a measure."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from wmt_transformer.cli.parser import AddVerb, positive
from wmt_transformer.cli.streams import picture_format, save_picture, say
from wmt_transformer.compilation import use_compilation_cache
from wmt_transformer.config import UserError
from wmt_transformer.files import whole_bytes
from wmt_transformer.messages import number_of

if TYPE_CHECKING:  # they bring JAX, which `--help` should not wait for
    from wmt_transformer.baselines.ngram import AddK, ContextRow, KneserNey, NGram
    from wmt_transformer.baselines.units import Units

ROWS, COLUMNS = 12, 8
"""Of the table for people; `--json` has all."""
PIECES = 37_000
"""Size of the paper's vocabulary (§5.1), drawn beside the text's own."""


def add(verb: AddVerb) -> None:
    """Adds the verb to the command line."""
    sub = verb(ngram)
    sub.add_argument("--text", metavar="FILE", required=True, help="what to count, UTF-8, plain or .gz")
    sub.add_argument("--order", metavar="N", type=positive, required=True, help="tokens of context")
    sub.add_argument(
        "--words", action="store_true", help="tokens are words and a line is a sentence (default: characters)"
    )
    kind = sub.add_mutually_exclusive_group(required=True)
    kind.add_argument("--table", action="store_true", help="print what follows each context, with probabilities")
    kind.add_argument("--generate", metavar="K", type=positive, help="draw K new tokens")
    kind.add_argument("--perplexity", metavar="FILE", help="measure how well another text is predicted")
    kind.add_argument("--plot", metavar="FILE", help="draw the table's size over the context, .png or .svg")
    smoothing = sub.add_mutually_exclusive_group()
    smoothing.add_argument("--add-k", metavar="K", type=float, help="add K to every count (default: 0)")
    smoothing.add_argument("--kneser-ney", action="store_true", help="interpolated Kneser-Ney smoothing")
    sub.add_argument(
        "--discount", metavar="D", type=float, help="of --kneser-ney (default: estimated by context length)"
    )
    sub.add_argument("--seed", metavar="N", type=int, default=1, help="of --generate (default: 1)")
    sub.add_argument("--json", action="store_true", help="print one JSON object")


def ngram(options: argparse.Namespace, overrides: list[str]) -> None:
    """Counts a Markov chain from a text: its table, new text drawn from it, its perplexity on another text."""
    from wmt_transformer.baselines.ngram import NGram
    from wmt_transformer.baselines.units import Units, documents

    smoothing = _smoothing(options)
    texts = documents(options.text, options.words)
    units = Units(texts, options.words)
    if options.plot:
        _plot(options, units)
        return
    model = NGram([units.encode(one) for one in texts], options.order, len(units), smoothing)
    run = _table if options.table else _generate if options.generate else _perplexity
    run(options, model, units)


def _smoothing(options: argparse.Namespace) -> AddK | KneserNey:
    from wmt_transformer.baselines.ngram import AddK, KneserNey

    if options.discount is not None and not options.kneser_ney:
        raise UserError("--discount is for Kneser-Ney smoothing; add --kneser-ney, or leave it out")
    if options.kneser_ney:
        return KneserNey(None if options.discount is None else (options.discount,) * (options.order + 1))
    return AddK(options.add_k or 0.0)


def _plot(options: argparse.Namespace, units: Units) -> None:
    from wmt_transformer.baselines.units import SPECIAL
    from wmt_transformer.visualize import context_tables

    form = picture_format(options.plot)
    kind = "words" if options.words else "characters"
    vocabularies = {kind: len(units) - len(SPECIAL), "pieces": PIECES}
    with whole_bytes(options.plot) as out:
        save_picture(context_tables.picture(vocabularies), out, form)
    say(f"wrote {options.plot}")
    if options.json:
        print(json.dumps({"picture": options.plot}))


def _table(options: argparse.Namespace, model: NGram, units: Units) -> None:
    from wmt_transformer.baselines.units import SPECIAL
    from wmt_transformer.visualize import context_tables

    rows = model.table()
    names = {token: piece for piece, token in units.ids().items()}
    if options.json:
        listed = [
            {
                "context": [names[token] for token in context],
                "count": int(counts.sum()),
                "next": {names[int(token)]: float(p) for token, p in zip(tokens, probabilities, strict=True)},
            }
            for context, tokens, counts, probabilities in rows
        ]
        sizes = {"order": model.order, "tokens": len(units) - len(SPECIAL), "contexts": len(listed)}
        print(json.dumps({**sizes, "rows": listed}, ensure_ascii=False))
        return
    _show(rows, names)
    size = len(units) - len(SPECIAL)
    occurring = f"{number_of(len(rows), 'context')} of {number_of(model.order, 'token')}"
    say(f"There are {occurring}. A table of all possible ones, of {number_of(size, 'token')}:")
    for line in context_tables.lines(size):
        say(f"  {line}")


def _show(rows: list[ContextRow], names: dict[int, str]) -> None:
    """Prints the most frequent contexts and tokens as a table of probabilities, in the order of first appearance."""
    import numpy as np
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    from wmt_transformer.baselines.units import SPECIAL
    from wmt_transformer.letters import visible

    def shown(token: int) -> str:
        return {"\n": "\\n", " ": "␣"}.get(names[token], visible(names[token]))

    often = sorted(rows, key=lambda row: -row.counts.sum())[:ROWS]
    total = np.zeros(max(names) + 1)
    for row in rows:
        total[row.tokens] += row.counts
    most = np.argsort(-total, kind="stable")[: min(COLUMNS, np.count_nonzero(total))].tolist()
    most.sort(key=lambda token: (token < len(SPECIAL), token))
    table = Table("context \\ next", *(Column(Text(shown(token))) for token in most))
    for row in sorted(often, key=lambda row: row.context):
        found = dict(zip(row.tokens.tolist(), row.probabilities.tolist(), strict=True))
        cells = [f"{found[token]:.2f}" if token in found else "·" for token in most]
        table.add_row(Text(" ".join(map(shown, row.context))), *cells)
    for column in table.columns:
        column.no_wrap = True
    Console(highlight=False).print(table)


def _generate(options: argparse.Namespace, model: NGram, units: Units) -> None:
    use_compilation_cache()
    texts = [units.decode(ids) for ids in model.sample(options.generate, options.seed)]
    print(json.dumps({"texts": texts}, ensure_ascii=False) if options.json else "\n".join(texts))


def _perplexity(options: argparse.Namespace, model: NGram, units: Units) -> None:
    from wmt_transformer.baselines.units import documents
    from wmt_transformer.evaluate import perplexity
    from wmt_transformer.special_tokens import EOS, UNKNOWN

    texts = documents(options.perplexity, options.words)
    found = perplexity.score(texts, lambda text: [*units.encode(text), EOS], model.log_probabilities)
    unknown = sum(units.encode(one).count(UNKNOWN) for one in texts)
    if options.json:
        print(json.dumps({"order": model.order, **found.report(), "unknown": unknown}))
        return
    kind = "word" if options.words else "character"
    tokens = number_of(found.tokens, "token")
    print(f"{found.per_token:.3f} per {kind}, {found.bits_per_byte:.4f} bits per byte, {tokens}")
    if unknown:
        occur = f"{number_of(unknown, 'token')} {'does' if unknown == 1 else 'do'} not occur in {options.text}"
        say(f"{occur}: they all count as <unk>, which makes the model look better than it is")
    if found.report()["perplexity"] is None:
        say("a token never followed its context, which counts alone call impossible; smooth with --kneser-ney")
