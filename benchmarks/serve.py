"""What the server costs and what it withstands: many clients at once against offline translation, long runs, abuse.

    WMT_TRANSFORMER_DATA=FOLDER python benchmarks/serve.py --workdir runs/quickstart [--parts load,term] [--smoke]

The server runs as a process of its own, its clients and offline translation in this one, on the same cores. Parts:

- `start`: from the command to "ready", twice; the second time from the cache.
- `load`: real sentences (Multi30k's English), each a request, by 64 clients at once and by one alone, against offline
  translation of the same sentences with the same settings.
- `memory`: 100,000 requests; how the server's resident memory grows after the first 10,000.
- `abuse`: one client's times beside a client that sends a byte a second, 10,000 connections that say nothing, and
  bodies of 100 MB.
- `term`: SIGTERM while 64 clients ask, each request over a connection of its own.
- `libretranslate`, only where it is asked for: a tenth of the load on LibreTranslate with the same model as its package
  and on ours, one after the other. LIBRETRANSLATE names its program, in an environment with `pip install libretranslate
  spacy`; sentences are found by spaCy's rules, as its own splitter would have to be downloaded.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import gzip
import itertools
import json
import os
import re
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import httptools

PARTS = ("start", "load", "memory", "abuse", "term")
PEERS = ("libretranslate",)


@dataclasses.dataclass(frozen=True)
class Sizes:
    sentences: int = 10_000
    alone: int = 200
    clients: int = 64
    long: int = 100_000
    idle: int = 10_000
    body: int = 100 * 2**20
    seconds: float = 3.0


SMOKE = Sizes(sentences=60, alone=8, clients=8, long=200, idle=50, body=3 * 2**20, seconds=0.5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, help="a run that translates from English")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of %(default)s")
    parser.add_argument("--smoke", action="store_true", help="a few requests: does it run?")
    parser.add_argument("--json", metavar="FILE", help="writes the figures there as well")
    options = parser.parse_args()
    if unknown := set(parts := options.parts.split(",")) - {*PARTS, *PEERS}:
        parser.error(f"no part is called {', '.join(sorted(unknown))}; there are {', '.join(PARTS + PEERS)}")
    sizes = SMOKE if options.smoke else Sizes()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 3 * sizes.idle)), hard))
    texts = list(sentences(sizes.sentences))
    figures: dict[str, Any] = {"cores": os.cpu_count(), "load of the machine before": os.getloadavg()[0]}
    for part in parts:
        print(f"{part} …", file=sys.stderr)
        found = globals()[part](options.workdir, texts, sizes)
        print("\n".join(f"{part + ' ':9}{name:50}{value:>14,.2f}" for name, value in found.items()), flush=True)
        figures[part] = found
        if options.json:
            Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")


# ---- The parts


def start(workdir: str, texts: list[str], sizes: Sizes) -> dict[str, float]:
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        with server(workdir):
            seconds.append(time.perf_counter() - began)
    return {"seconds to ready, first": seconds[0], "seconds to ready, again": seconds[1]}


def load(workdir: str, texts: list[str], sizes: Sizes) -> dict[str, float]:
    from wmt_transformer.decode.generate import Translator

    translator = Translator.load(workdir)
    width = translator.request().settings.beam_size
    request, few = translator.request(width), texts[:: len(texts) // sizes.alone]
    translator.decode(texts, request)  # compiles
    offline, expected = timed(lambda: translator.decode(texts, request))
    for text in few:
        translator.decode([text], request)
    alone_offline = [timed(lambda text=text: translator.decode([text], request))[0] for text in few]
    with server(workdir) as (port, _):
        asyncio.run(ask(port, texts[: sizes.clients], sizes.clients))
        seconds, found = timed(lambda: asyncio.run(ask(port, texts, sizes.clients)))
        alone = [one.seconds for one in asyncio.run(ask(port, few, 1))]
        metrics = urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    times = sorted(one.seconds for one in found)
    value = {name: float(number) for name, number in re.findall(r"^wmt_transformer_(\w+) (\S+)$", metrics, re.M)}
    return {
        "offline: sentences a second": len(texts) / offline,
        "served: sentences a second": len(texts) / seconds,
        "served / offline": offline / seconds,
        "errors": sum(one.status != 200 for one in found),
        "other translations than offline": sum(
            one.text != best[0].text for one, best in zip(found, expected, strict=True)
        ),
        "p50, ms": 1000 * statistics.median(times),
        "p99, ms": 1000 * times[int(0.99 * len(times))],
        "sentences a batch": value["batch_sentences_sum"] / value["batch_sentences_count"],
        "one client alone: median, ms": 1000 * statistics.median(alone),
        "one sentence offline: median, ms": 1000 * statistics.median(alone_offline),
        "compiled after ready": value["programs_compiled_after_ready"],
    }


def memory(workdir: str, texts: list[str], sizes: Sizes) -> dict[str, float]:
    with server(workdir) as (port, process):
        asyncio.run(ask(port, itertools.islice(itertools.cycle(texts), sizes.long // 10), sizes.clients))
        before = resident(process.pid)
        rest = itertools.islice(itertools.cycle(texts), sizes.long - sizes.long // 10)
        found = asyncio.run(ask(port, rest, sizes.clients))
        after = resident(process.pid)
    return {
        "requests": sizes.long,
        "errors": sum(one.status != 200 for one in found),
        "resident after the first tenth, MB": before / 1e6,
        "resident at the end, MB": after / 1e6,
        "growth, %": 100 * (after / before - 1),
    }


def abuse(workdir: str, texts: list[str], sizes: Sizes) -> dict[str, float]:
    few = texts[: 2 * sizes.alone]

    async def beside(what: Callable[[int], Any], port: int) -> float:
        trouble = asyncio.create_task(what(port))
        await asyncio.sleep(sizes.seconds)
        found = await ask(port, few, 1)
        trouble.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await trouble
        assert all(one.status == 200 for one in found)
        return 1000 * statistics.median(one.seconds for one in found)

    async def nothing(port: int) -> None:
        await asyncio.sleep(0)

    async def slow(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        for byte in request("a slow client", "close"):
            writer.write(bytes([byte]))
            await asyncio.sleep(1)

    async def idle(port: int) -> None:
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(sizes.idle)]
        await asyncio.sleep(3600)
        del connections

    async def large(port: int) -> None:
        while True:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionError):
                writer.write(f"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Length: {sizes.body}\r\n\r\n".encode())
                for _ in range(sizes.body >> 16):
                    writer.write(bytes(1 << 16))
                    await writer.drain()
            writer.close()

    with server(workdir) as (port, _):
        asyncio.run(ask(port, few, 1))
        return {
            f"one client beside {name}: median, ms": asyncio.run(beside(what, port))
            for name, what in {
                "nothing": nothing,
                "a slow client": slow,
                f"{sizes.idle:,} idle ones": idle,
                f"{sizes.body >> 20} MB bodies": large,
            }.items()
        }


def term(workdir: str, texts: list[str], sizes: Sizes) -> dict[str, float]:
    seen: Counter[str] = Counter()

    async def client(port: int, mine: Iterator[str]) -> None:
        for text in mine:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return  # nothing is accepted any more
            try:
                answer = await exchange(reader, writer, text, "close")
                seen[f"answered {answer.status}"] += 1
            except (OSError, EOFError):
                seen["sent and not answered"] += 1
            writer.close()

    async def clients(port: int, process: subprocess.Popen[str]) -> None:
        asking = [asyncio.create_task(client(port, itertools.cycle(texts[n:]))) for n in range(sizes.clients)]
        await asyncio.sleep(sizes.seconds)
        process.send_signal(signal.SIGTERM)
        await asyncio.gather(*asking)

    with server(workdir) as (port, process):
        asyncio.run(clients(port, process))
        seconds, code = timed(lambda: process.wait(60))
    return {**seen, "exit code": code, "seconds to the end": seconds}


def libretranslate(workdir: str, texts: list[str], sizes: Sizes) -> dict[str, float]:
    texts, figures = texts[: max(sizes.sentences // 10, sizes.clients)], {}
    for name, serving in (("LibreTranslate", peer), ("ours", server)):
        with serving(workdir) as (port, process):
            asyncio.run(ask(port, texts[: sizes.clients], sizes.clients))  # it loads and compiles what it needs
            seconds, found = timed(lambda port=port: asyncio.run(ask(port, texts, sizes.clients)))
            alone = asyncio.run(ask(port, texts[: sizes.alone], 1))
            times = sorted(one.seconds for one in found)
            figures |= {
                f"{name}: sentences a second": len(texts) / seconds,
                f"{name}: errors": sum(one.status != 200 for one in found),
                f"{name}: p50, ms": 1000 * statistics.median(times),
                f"{name}: p99, ms": 1000 * times[int(0.99 * len(times))],
                f"{name}: one client alone: median, ms": 1000 * statistics.median(one.seconds for one in alone),
                f"{name}: resident, MB": resident(process.pid) / 1e6,
            }
    return figures | {
        "ours / LibreTranslate": figures["ours: sentences a second"] / figures["LibreTranslate: sentences a second"]
    }


# ---- Clients and servers


@contextlib.contextmanager
def server(workdir: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Yields the port and the process of a server that is ready."""
    command = [sys.executable, "-m", "wmt_transformer", "serve", "--workdir", workdir, "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        ready = next(line for line in process.stderr if "ready after" in line)
        yield int(re.findall(r"127\.0\.0\.1:(\d+)", ready)[0]), process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextlib.contextmanager
def peer(workdir: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Yields the port and the process of a LibreTranslate that answers, with the run as its only package."""
    program = Path(os.environ["LIBRETRANSLATE"])
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        package, cache = Path(folder, "packages", "en_de"), Path(folder, "cache", "argos-translate", "spacy", "senter")
        for made in (package, cache):
            made.mkdir(parents=True)
        (cache / "model").touch()  # it would download another splitter of sentences
        export = ["-m", "wmt_transformer", "export-ctranslate2", "--workdir", workdir, "--output", package / "model"]
        subprocess.run([sys.executable, *export], check=True, capture_output=True)
        (package / "sentencepiece.model").write_bytes((package / "model" / "vocabulary.model").read_bytes())
        about = {"from_code": "en", "from_name": "English", "to_code": "de", "to_name": "German", "type": "translate"}
        (package / "metadata.json").write_text(json.dumps({"package_version": "1.0", "argos_version": "1.9", **about}))
        rules = f"import spacy; spacy.blank('en').to_disk({str(package / 'spacy')!r})"
        subprocess.run([program.with_name("python"), "-c", rules], check=True)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        environment = {
            "ARGOS_PACKAGES_DIR": str(package.parent),
            "ARGOS_CHUNK_TYPE": "SPACY",
            "XDG_CACHE_HOME": str(Path(folder, "cache")),
            "XDG_DATA_HOME": folder,
            "HOME": folder,
        }
        command = [program, "--host", "127.0.0.1", "--port", str(port), "--load-only", "en,de"]
        with subprocess.Popen(
            command, cwd=folder, env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                while True:
                    with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/languages"):
                        break
                    assert process.poll() is None, "LibreTranslate has ended"
                    time.sleep(0.5)
                yield port, process
            finally:
                process.terminate()


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    text: str
    seconds: float


class Reply:
    """A reply as httptools' parser finds it."""

    def __init__(self) -> None:
        self.parser, self.body, self.complete = httptools.HttpResponseParser(self), b"", False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def request(text: str, connection: str) -> bytes:
    body = json.dumps({"q": text, "source": "en", "target": "de"}).encode()
    head = f"POST /translate HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str, connection: str = "keep-alive"
) -> Answer:
    """Asks for a translation. Raises EOFError where the connection ends before the answer does."""
    began = time.perf_counter()
    writer.write(request(text, connection))
    reply = Reply()
    while not reply.complete:
        if not (data := await reader.read(65536)):
            raise EOFError
        reply.parser.feed_data(data)
    found = json.loads(reply.body).get("translatedText", "")
    return Answer(reply.parser.get_status_code(), found, time.perf_counter() - began)


async def ask(port: int, texts: Any, clients: int) -> list[Answer]:
    """Returns the answer to each text; `clients` connections are kept, and each asks for one text after the other."""
    found: dict[int, Answer] = {}
    left = iter(enumerate(texts))

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for place, text in left:
            found[place] = await exchange(reader, writer, text)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return [found[place] for place in sorted(found)]


def sentences(count: int) -> Iterator[str]:
    """Yields English lines that are one sentence each, which the server does not cut."""
    from sentencex import segment  # pyright: ignore[reportAttributeAccessIssue] - it is written in Rust

    path = Path(os.environ["WMT_TRANSFORMER_DATA"], "multi30k", "train.en.gz")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = (line.strip() for line in file)
        yield from itertools.islice((line for line in lines if line and len(segment("en", line)) == 1), count)


def resident(pid: int) -> int:
    """Returns the bytes of memory that a process has in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


if __name__ == "__main__":
    main()
