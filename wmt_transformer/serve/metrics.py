"""What /metrics tells, in Prometheus' format: counts and times, never a text, a key or an address."""

from __future__ import annotations

from typing import Any

import jax
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

PREFIX = "wmt_transformer_"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
COMPILED = "/jax/core/compile/backend_compile_duration"
"""JAX's event for a program that was compiled, or read from its cache."""


class Metrics:
    """The figures of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = self._of(
            Histogram, "http_request_duration_seconds", "Time of a request", ("endpoint", "status"), buckets=SECONDS
        )
        self.in_flight = self._of(Gauge, "http_requests_in_flight", "Requests being answered")
        self.waiting = self._of(Gauge, "sentences_waiting", "Sentences in the queue")
        self.refused = self._of(Counter, "requests_refused", "Requests that the full queue refused")
        self.gone = self._of(Counter, "clients_gone", "Clients that closed their connection before the answer")
        self._sentences = self._of(Counter, "sentences", "Sentences translated")
        self._tokens = self._of(Counter, "source_tokens", "Source tokens translated")
        self._sizes = self._of(Histogram, "batch_sentences", "Sentences in a batch", buckets=SIZES)
        self._seconds = self._of(Histogram, "batch_seconds", "Time of a batch", buckets=SECONDS)
        self._programs = self._of(Gauge, "programs", "Programs that were compiled or loaded at the start")
        self._late = self._of(Gauge, "programs_compiled_after_ready", "Programs compiled later: 0 is right")
        self._ready = self._of(Gauge, "ready", "1 when every program is compiled")

    def _of(self, kind: Any, name: str, meaning: str, labels: tuple[str, ...] = (), **options: Any) -> Any:
        return kind(PREFIX + name, meaning, labels, registry=self._registry, **options)

    def batch(self, sentences: int, tokens: int, seconds: float) -> None:
        """Counts a batch that was translated."""
        self._sentences.inc(sentences)
        self._tokens.inc(tokens)
        self._sizes.observe(sentences)
        self._seconds.observe(seconds)

    def ready(self, programs: int) -> None:
        """Notes that every program is there, and counts what JAX compiles from now on."""
        self._programs.set(programs)
        self._ready.set(1)

        def compiled(event: str, duration_secs: float, **kwargs: str | int) -> None:
            if event == COMPILED:
                self._late.inc()

        jax.monitoring.register_event_duration_secs_listener(compiled)

    def text(self) -> bytes:
        """Returns all figures as Prometheus reads them."""
        return generate_latest(self._registry)
