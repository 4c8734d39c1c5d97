"""A server in this process, of translators that nobody trained, which the tests of `serve` ask over a real socket."""

import contextlib
import dataclasses
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from translators import CONFIG, MODEL, toy_params, toy_vocabulary

from wmt_transformer.decode.generate import Translator
from wmt_transformer.serve import app, server
from wmt_transformer.serve.access import Access
from wmt_transformer.serve.batching import Batcher
from wmt_transformer.serve.directions import Direction, Directions
from wmt_transformer.serve.metrics import Metrics
from wmt_transformer.serve.service import Limits, Service


def translator(seed: int, max_length: int = 12) -> Translator:
    """Returns an untrained translator of short sentences: few lengths, so few programs."""
    data, decode = (
        dataclasses.replace(CONFIG.data, max_length=max_length),
        dataclasses.replace(CONFIG.decode, batch_tokens=256),
    )
    config = dataclasses.replace(CONFIG, model=MODEL, data=data, decode=decode)
    return Translator(config, toy_params(MODEL, seed), toy_vocabulary())


@dataclasses.dataclass
class Running:
    """A server that answers."""

    url: str
    batcher: Batcher
    metrics: Metrics
    service: Service
    lines: list[str]
    """What it said."""

    def ask(
        self, path: str, body: Any = None, method: str | None = None, kind: str = "application/json", **headers: str
    ) -> Any:
        """Returns the status, the JSON and the headers of a reply; a dict is sent as JSON, bytes as they are."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        asked = urllib.request.Request(self.url + path, data, {"Content-Type": kind, **headers}, method=method)
        try:
            with urllib.request.urlopen(asked, timeout=120) as reply:
                text = reply.read().decode()
                return reply.status, json.loads(text) if text[:1] in ("[", "{") else text, reply.headers
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read()), error.headers

    def translate(self, q: Any, **fields: Any) -> Any:
        """Returns the reply to /translate, which must be a good one."""
        status, reply, _ = self.ask("/translate", {"q": q, "source": "de", "target": "en", **fields})
        assert status == 200, reply
        return reply


@contextlib.contextmanager
def running(
    limits: Limits | None = None,
    most_waiting: int = 2000,
    access: Access | None = None,
    suggestions: Path | None = None,
    directions: Directions | None = None,
) -> Iterator[Running]:
    """Runs a server until the block ends, of two directions unless it is given others."""
    directions = directions or Directions(
        [Direction("de", "en", translator(0), ("one",)), Direction("en", "fr", translator(1), ("two",))]
    )
    metrics, limits, lines = Metrics(), limits or Limits(characters=2000, texts=20), []
    batcher = Batcher(directions, metrics, most_waiting=most_waiting)
    service = Service(directions, batcher, limits, access or Access(), suggestions)
    listening = server.bound("127.0.0.1", 0)
    process = uvicorn.Server(server.config(app.build(service, metrics, say=lines.append), limits))
    thread = threading.Thread(target=process.run, args=([listening],))
    batcher.start()
    thread.start()
    try:
        assert batcher.ready.wait(300), batcher.failure
        while not process.started:
            time.sleep(0.01)
        yield Running(f"http://127.0.0.1:{listening.getsockname()[1]}", batcher, metrics, service, lines)
    finally:
        process.should_exit = True
        thread.join()
        batcher.stop()
