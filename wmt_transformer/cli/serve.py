"""The verb `serve`: trained runs as a translation server."""

from __future__ import annotations

import argparse
from pathlib import Path

from wmt_transformer.cli.parser import AddVerb, positive
from wmt_transformer.cli.streams import say
from wmt_transformer.cli.translate import add_search
from wmt_transformer.config import UserError

QUICKSTART = "runs/quickstart"


def add(verb: AddVerb) -> None:
    """Adds the verb to the command line."""
    sub = verb(serve)
    sub.add_argument(
        "--workdir",
        metavar="WORKDIR",
        action="append",
        help=f"folder of a run; give it more than once for several directions, or an ensemble (default: {QUICKSTART})",
    )
    sub.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s, this machine)")
    sub.add_argument("--port", type=int, default=5000, help="(default: %(default)s; 0: a free one)")
    sub.add_argument("--origins", default="*", help="the site whose pages may ask (default: all)")
    sub.add_argument(
        "--glossary",
        metavar="SOURCE-TARGET=FILE",
        action="append",
        default=[],
        help="terms of a direction, such as en-de=FILE: in each line a term, a tab, its translation; once for each",
    )
    sub.add_argument(
        "--suggestions", metavar="FILE", type=Path, help="where to add what users suggest (default: it is refused)"
    )
    add_search(sub)
    access = sub.add_argument_group("who may ask")
    access.add_argument("--keys", metavar="FILE", type=Path, help="hashes of keys, one of which each request needs")
    access.add_argument("--new-key", metavar="NAME", help="add a key for somebody to --keys, print it, and end")
    access.add_argument("--rate-per-key", metavar="RATE", default="", help="such as '60/minute; 1000/day'")
    access.add_argument(
        "--rate-per-address", metavar="RATE", default="", help="the same for each address (default: no limit)"
    )
    access.add_argument(
        "--rate-storage",
        metavar="URL",
        default="memory://",
        help="where to count: memory:// or redis://HOST:PORT, which several servers share (default: %(default)s)",
    )
    limits = sub.add_argument_group("limits")
    limits.add_argument("--max-characters", type=positive, default=10_000, help="of a text (default: %(default)s)")
    limits.add_argument("--max-texts", type=positive, default=128, help="of a request (default: %(default)s)")
    limits.add_argument("--max-terms", type=positive, default=1000, help="of a glossary (default: %(default)s)")
    limits.add_argument(
        "--max-waiting", type=positive, default=2000, help="sentences in the queue (default: %(default)s)"
    )
    limits.add_argument("--timeout", type=positive, default=60, help="seconds until an answer (default: %(default)s)")


def serve(options: argparse.Namespace, overrides: list[str]) -> None:
    """Serves trained runs over HTTP: LibreTranslate's interface, DeepL's, and a batch across all users."""
    if options.new_key is not None and not options.keys:
        raise UserError("--new-key adds a key to a file; name the file with --keys")
    if options.rate_per_key and not options.keys:
        raise UserError("--rate-per-key counts by key, and there are none; name a file of keys with --keys")
    workdirs = options.workdir or [QUICKSTART]
    if options.new_key is None and not options.workdir and not Path(QUICKSTART, "config.json").is_file():
        raise UserError(
            f"there is no run to serve in {QUICKSTART}; train one with `wmt-transformer quickstart` (5 minutes), or "
            "name yours with --workdir"
        )
    try:
        from wmt_transformer.serve import directions, server, suggestions
        from wmt_transformer.serve.access import Access, Keys, new_key
        from wmt_transformer.serve.batching import Batcher
        from wmt_transformer.serve.metrics import Metrics
        from wmt_transformer.serve.service import Limits, Service
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        raise UserError(
            f"serve needs the package {missing}, which is not installed; pip install 'wmt-transformer[serve]'"
        ) from None
    if options.new_key is not None:
        print(new_key(options.keys, options.new_key))
        return
    keys = Keys(options.keys) if options.keys else None
    if options.suggestions:
        suggestions.check(options.suggestions)
    access = Access(keys, options.rate_per_key, options.rate_per_address, options.rate_storage)
    with server.bound(options.host, options.port) as listening:
        found, metrics = directions.load(workdirs, options.compute_dtype, say), Metrics()
        found = directions.with_glossaries(found, options.glossary)
        batcher = Batcher(found, metrics, options.beam_size, options.alpha, options.max_waiting)
        for one in found:
            batcher.request(one.translator, False)  # settings out of range are an error here, not in a thread
        limits = Limits(
            characters=options.max_characters,
            texts=options.max_texts,
            terms=options.max_terms,
            seconds=float(options.timeout),
        )
        server.serve(
            listening, Service(found, batcher, limits, access, options.suggestions), metrics, options.origins, say
        )
