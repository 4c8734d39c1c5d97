"""Sentences of all requests become batches: one queue, one thread that translates.

A batch is the sentence whose turn it is and, of those that wait for the same direction, the ones nearest to it in
length: as many as fill a batch. Where nothing else waits, the first sentence waits `WINDOW` seconds for company. The
turn of a sentence is the number of its request plus its place in it, so that a long text and the short ones that come
after it take turns. How a sentence is translated does not depend on its company.

All programs are compiled before the first batch. What n-best lists cost is little, so every sentence has one as long as
its beam; alignments cost a second pass, in programs of their own. Terms of a glossary widen the beam, in programs that
are compiled at the start where the server has a glossary, otherwise when they are first used. A sentence that fails
fails alone, one that nobody waits for any more is dropped, and when `most_waiting` wait, a request is refused.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from wmt_transformer.decode import constraints
from wmt_transformer.decode.batched import Request
from wmt_transformer.decode.generate import Translator
from wmt_transformer.decode.glossary import Glossary
from wmt_transformer.decode.lines import Translation, round_up
from wmt_transformer.decode.shapes import full_rows
from wmt_transformer.serve.directions import Direction, Directions
from wmt_transformer.serve.failures import Busy, NotReady
from wmt_transformer.serve.metrics import Metrics
from wmt_transformer.serve.sentences import Sentence

WINDOW = 0.005
"""Seconds that a sentence waits for others."""
SIZES = (1, 4, 16, 32, 64)
"""Rows of a batch: each of them is a program for every length."""
FILLED = 0.75
"""A batch that would fill less of its program's rows leaves some sentences to the next one."""
AT_ONCE = {False: 64, True: 1}
"""Sentences in a batch without and with alignments or terms, which few need: these have one program for each length."""


@dataclasses.dataclass(frozen=True, eq=False)
class Waiting:
    """A sentence in the queue."""

    turn: int
    direction: Direction
    aligned: bool
    text: str
    length: int
    """Tokens, EOS included."""
    since: float
    answer: Future[list[Translation]]
    glossary: Glossary | None = None
    """With the sentence's terms, None where it has none."""

    @property
    def kind(self) -> tuple[Direction, bool, Glossary | None]:
        """What all sentences of a batch have in common."""
        return self.direction, self.aligned, self.glossary

    @property
    def most(self) -> int:
        """How many such sentences a batch has at most."""
        return AT_ONCE[self.aligned or self.glossary is not None]


class Batcher:
    """The queue, and the thread that empties it."""

    def __init__(
        self,
        directions: Directions,
        metrics: Metrics,
        beam_size: int | None = None,
        alpha: float | None = None,
        most_waiting: int = 2000,
    ):
        self._directions = directions
        self._metrics = metrics
        self._beam_size = beam_size
        self._alpha = alpha
        self._most_waiting = most_waiting
        self._queue: list[Waiting] = []
        self._changed = threading.Condition()
        self._ends = False
        self._requests = itertools.count()
        self._thread = threading.Thread(target=self._run, name="translating", daemon=True)
        self.ready = threading.Event()
        """Is set when every program is compiled."""
        self.failure: Exception | None = None
        """Why the thread ended before it was asked to."""
        self.when_ready: Callable[[int], None] = lambda programs: None
        """Is told how many programs there are."""
        self.when_failed: Callable[[], None] = lambda: None

    @property
    def alive(self) -> bool:
        """Whether the thread translates, or will when it is ready."""
        return self._thread.is_alive()

    def request(self, translator: Translator, aligned: bool) -> Request:
        """Returns how this server translates with a translator: an n-best list as long as the beam."""
        width = translator.request(1, self._beam_size, self._alpha).settings.beam_size
        asked = translator.request(width, self._beam_size, self._alpha, alignments=aligned)
        return dataclasses.replace(asked, sizes=SIZES)

    def start(self) -> None:
        """Starts the thread, which compiles first."""
        self._thread.start()

    def stop(self) -> None:
        """Returns when all that waits is translated and the thread has ended."""
        with self._changed:
            self._ends = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    async def translate(self, direction: Direction, sentences: Sequence[Sentence]) -> list[list[Translation]]:
        """Returns the n-best list of each sentence.

        Raises Busy, NotReady, and what translating one of them raised. A caller that is cancelled leaves the queue.
        """
        if not sentences:
            return []
        if not self.ready.is_set():
            raise NotReady
        number, now = next(self._requests), time.monotonic()
        tag = f"{direction.tag} " if direction.tag else ""
        waiting = [
            Waiting(number + place, direction, one.linked, tag + one.text, one.tokens, now, Future(), one.glossary)
            for place, one in enumerate(sentences)
        ]
        with self._changed:
            self._drop_gone()
            if len(self._queue) >= self._most_waiting:
                self._metrics.refused.inc()
                raise Busy(len(self._queue))
            self._queue += waiting
            self._metrics.waiting.set(len(self._queue))
            self._changed.notify_all()
        try:
            return await asyncio.gather(*(asyncio.wrap_future(one.answer) for one in waiting))
        finally:
            for one in waiting:
                one.answer.cancel()  # does nothing to those that are answered

    def _run(self) -> None:
        try:
            programs = self._warm_up()
            self._metrics.ready(programs)
            self.ready.set()
            self.when_ready(programs)
            while batch := self._next():
                self._translate(batch)
        except Exception as error:
            self.failure = error
            self.when_failed()

    def _warm_up(self) -> int:
        programs = 0
        for translator in {id(one.translator): one.translator for one in self._directions}.values():
            for aligned, most in AT_ONCE.items():
                programs += translator.warm_up(most, self.request(translator, aligned))
        with_terms = {id(one.translator): one.translator for one in self._directions if one.glossary is not None}
        for translator, aligned, size in itertools.product(with_terms.values(), AT_ONCE, constraints.SIZES):
            programs += translator.warm_up(AT_ONCE[True], self.request(translator, aligned).with_terms(size))
        return programs

    def _next(self) -> list[Waiting]:
        """Waits for sentences and takes a batch of them out of the queue; an empty one when the server ends."""
        with self._changed:
            while True:
                self._drop_gone()
                if not self._queue:
                    if self._ends:
                        return []
                    self._changed.wait()
                    continue
                batch, full = self._nearest(min(self._queue, key=lambda one: one.turn))
                left = min(one.since for one in batch) + WINDOW - time.monotonic()
                if full or self._ends or left <= 0:
                    break
                self._changed.wait(left)
            taken = set(map(id, batch))
            self._queue = [one for one in self._queue if id(one) not in taken]
            self._metrics.waiting.set(len(self._queue))
        # Who has gone since does not count; from here on nobody can go.
        return [one for one in batch if one.answer.set_running_or_notify_cancel()] or self._next()

    def _drop_gone(self) -> None:
        """Takes sentences out of the queue that nobody waits for."""
        self._queue = [one for one in self._queue if not one.answer.cancelled()]
        self._metrics.waiting.set(len(self._queue))

    def _nearest(self, first: Waiting) -> tuple[list[Waiting], bool]:
        """Returns a batch around a sentence, and whether it is full."""
        alike = [one for one in self._queue if one.kind == first.kind]
        alike.sort(key=lambda one: (abs(one.length - first.length), one.turn))
        settings = self.request(first.direction.translator, first.aligned).settings
        most, count = first.most, 1
        longest = round_up(first.length)
        while count < min(most, len(alike)):
            longest = max(longest, round_up(alike[count].length))
            if full_rows(longest, settings) <= count:
                return alike[:count], True
            count += 1
        if count < most:
            size = next(size for size in SIZES if size >= count)
            count = count if count >= FILLED * size else max(size for size in SIZES if size < count)
        return alike[:count], count == most

    def _translate(self, batch: Sequence[Waiting]) -> None:
        """Answers each sentence of a batch."""
        translator = batch[0].direction.translator
        request = dataclasses.replace(self.request(translator, batch[0].aligned), glossary=batch[0].glossary)
        began = time.monotonic()
        try:
            found = translator.decode([one.text for one in batch], request)
        except Exception as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            for one in batch:
                self._translate([one])
            return
        self._metrics.batch(len(batch), sum(one.length for one in batch), time.monotonic() - began)
        for one, translations in zip(batch, found, strict=True):
            one.answer.set_result(translations)
