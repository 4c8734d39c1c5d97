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
    add_search(sub)
    limits = sub.add_argument_group("limits")
    limits.add_argument("--max-characters", type=positive, default=10_000, help="of a text (default: %(default)s)")
    limits.add_argument("--max-texts", type=positive, default=128, help="of a request (default: %(default)s)")
    limits.add_argument(
        "--max-waiting", type=positive, default=2000, help="sentences in the queue (default: %(default)s)"
    )
    limits.add_argument("--timeout", type=positive, default=60, help="seconds until an answer (default: %(default)s)")


def serve(options: argparse.Namespace, overrides: list[str]) -> None:
    """Serves trained runs over HTTP: LibreTranslate's interface, DeepL's, and a batch across all users."""
    workdirs = options.workdir or [QUICKSTART]
    if not options.workdir and not Path(QUICKSTART, "config.json").is_file():
        raise UserError(
            f"there is no run to serve in {QUICKSTART}; train one with `wmt-transformer quickstart` (5 minutes), or "
            "name yours with --workdir"
        )
    try:
        from wmt_transformer.serve import directions, server
        from wmt_transformer.serve.batching import Batcher
        from wmt_transformer.serve.metrics import Metrics
        from wmt_transformer.serve.service import Limits
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        raise UserError(
            f"serve needs the package {missing}, which is not installed; pip install 'wmt-transformer[serve]'"
        ) from None
    with server.bound(options.host, options.port) as listening:
        found, metrics = directions.load(workdirs, options.compute_dtype, say), Metrics()
        batcher = Batcher(found, metrics, options.beam_size, options.alpha, options.max_waiting)
        for one in found:
            batcher.request(one.translator, False)  # settings out of range are an error here, not in a thread
        limits = Limits(characters=options.max_characters, texts=options.max_texts, seconds=float(options.timeout))
        server.serve(listening, found, batcher, metrics, limits, options.origins, say)
