"""The verb `explain`: a page in which a run's model thinks, for a reader's own sentences."""

from __future__ import annotations

import argparse
from pathlib import Path

from wmt_transformer.cli.parser import CHECKPOINT, AddVerb
from wmt_transformer.cli.streams import say
from wmt_transformer.files import whole_file


def add(verb: AddVerb) -> None:
    """Adds the verb to the command line."""
    sub = verb(explain)
    sub.add_argument("--workdir", required=True, help="folder of the run")
    sub.add_argument("--checkpoint", help=CHECKPOINT)
    sub.add_argument("--output", metavar="FILE", required=True, help="the page, one .html file that needs nothing else")
    sub.add_argument(
        "--precision", choices=("float16", "int8"), default="float16", help="of the weights (default: %(default)s)"
    )
    sub.add_argument(
        "--evaluate", choices=("dev", "test"), metavar="SPLIT", help="say what rounding costs the score of dev or test"
    )
    sub.add_argument("--no-text", action="store_true", help="without the corpus: no examples, no Markov chain")
    sub.add_argument(
        "--language", choices=("en", "zh"), default="en", help="in which it opens; the reader may switch (default: en)"
    )


def explain(options: argparse.Namespace, overrides: list[str]) -> None:
    """Writes a page that shows how a run's model computes, step by step, in the reader's browser."""
    from wmt_transformer.decode import runs
    from wmt_transformer.explain import document, rounding

    workdir = Path(options.workdir)
    with whole_file(options.output) as out:
        run = runs.load(workdir, options.checkpoint, warn=say)
        settings = None if options.no_text else workdir / "data", options.language, options.precision
        page = document.html(run, *settings)
        if options.evaluate:
            cost = rounding.cost(run, workdir, options.evaluate, options.precision, say)
            say(str(cost))
            page = document.html(run, *settings, cost)
        out.write(page)
    searching = run.config.decode
    if searching.beta or searching.min_length or searching.max_length is not None:
        say("the page's beam search has no decode.beta, min_length and max_length, which this run has set")
    say(f"wrote {options.output}: {len(page.encode()) / 1e6:.1f} MB, it opens from disk and needs no network")
