"""What the server costs: throughput and latency of many clients at once, against offline `translate`.

    WMT_TRANSFORMER_DATA=FOLDER python benchmarks/serve.py --workdir runs/quickstart [--json] [--smoke]

Real sentences (Multi30k's English) are translated offline, with the server's settings; then a server of the same run,
in a process of its own, is asked for each of them by 64 clients at once, and by one client alone.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import itertools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import httptools

from wmt_transformer.decode.generate import Translator
from wmt_transformer.serve.sentences import segment


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--sentences", type=int, default=10_000)
    parser.add_argument("--beam-size", type=int, default=4)
    parser.add_argument("--smoke", action="store_true", help="a hundred sentences: does it run?")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    texts = list(sentences(100 if options.smoke else options.sentences))
    print(f"{len(texts):,} sentences, load of this machine {os.getloadavg()[0]:.1f}", file=sys.stderr)

    translator = Translator.load(options.workdir)
    asked = translator.request(options.beam_size, options.beam_size)
    single = texts[:: max(1, len(texts) // 100)]
    offline, expected = timed(lambda: translator.decode(texts, asked))  # compiles
    offline, expected = timed(lambda: translator.decode(texts, asked))
    for text in single:
        translator.decode([text], asked)
    alone = [timed(lambda text=text: translator.decode([text], asked))[0] for text in single]

    with_server = [sys.executable, "-m", "wmt_transformer", "serve", "--workdir", options.workdir, "--port", "0"]
    began = time.perf_counter()
    server = subprocess.Popen([*with_server, "--beam-size", str(options.beam_size)], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    ready = next(line for line in server.stderr if "ready after" in line)
    start = time.perf_counter() - began
    port = int(re.findall(r"127\.0\.0\.1:(\d+)", ready)[0])
    try:
        asyncio.run(ask(port, texts[:64], options.clients))
        seconds, found = timed(lambda: asyncio.run(ask(port, texts, options.clients)))
        one = asyncio.run(ask(port, single, 1))
        metrics = urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    finally:
        server.send_signal(signal.SIGTERM)
    code = server.wait(120)
    figures = {
        "sentences": len(texts),
        "clients": options.clients,
        "offline_sentences_per_second": len(texts) / offline,
        "served_sentences_per_second": len(texts) / seconds,
        "ratio": offline / seconds,
        "errors": sum(status != 200 for status, _, _ in found),
        "different": sum(text != best[0].text for (_, text, _), best in zip(found, expected, strict=True)),
        "p50_ms": 1000 * statistics.median(late for _, _, late in found),
        "p99_ms": 1000 * sorted(late for _, _, late in found)[int(0.99 * len(found))],
        "alone_ms": 1000 * statistics.median(late for _, _, late in one),
        "alone_offline_ms": 1000 * statistics.median(alone),
        "start_to_ready_seconds": start,
        "compiled_after_ready": float(re.findall(r"after_ready (\S+)", metrics)[0]),
        "exit_code": code,
    }
    if options.json:
        print(json.dumps(figures))
    else:
        print("\n".join(f"{name:30} {value:,.2f}" for name, value in figures.items()))


def sentences(count: int) -> Iterator[str]:
    """Yields English sentences that are one sentence each, as the server would not cut them."""
    path = Path(os.environ["WMT_TRANSFORMER_DATA"], "multi30k", "train.en.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = (line.strip() for line in file)
        yield from itertools.islice((line for line in lines if line and len(segment("en", line)) == 1), count)


def timed(work):
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


async def ask(port: int, texts: list[str], clients: int) -> list[tuple[int, str, float]]:
    """Returns status, translation and seconds of each text, asked for over so many kept connections."""
    found: dict[int, tuple[int, str, float]] = {}
    left = iter(enumerate(texts))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for place, text in left:
            body = json.dumps({"q": text, "source": "en", "target": "de"}).encode()
            began = time.perf_counter()
            head = "POST /translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            reply = Reply()
            while not reply.complete:
                reply.parser.feed_data(await reader.read(65536))
            text = json.loads(reply.body).get("translatedText", "")
            found[place] = reply.parser.get_status_code(), text, time.perf_counter() - began
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return [found[place] for place in range(len(texts))]


class Reply:
    """A reply, as its parser finds it."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.body = b""
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


if __name__ == "__main__":
    main()
