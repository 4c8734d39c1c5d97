"""What a run reports: sums until the next report, a file of JSON lines, TensorBoard, and a progress bar.

Sums and counts are kept apart until a report divides them, so that every token weighs the same whatever the
sizes of the batches. `metrics.jsonl` is the record that everything else is made from: one object a line, with
`step` and plain numbers. A run that is resumed drops the lines beyond the step it resumes from, because it is
about to write them again; a line that a killed process left half written goes with them.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wmt_transformer.files import whole_file
from wmt_transformer.letters import visible_lines

FILE_NAME = "metrics.jsonl"


class Sums:
    """Adds up what the steps since the last report returned, e.g. `{"loss": …, "tokens": …, "correct": …}`.

    `add` keeps the arrays as they are, so it never waits for a device; `take` does, once a report.
    """

    def __init__(self) -> None:
        self._added: list[Mapping[str, Any]] = []

    def add(self, sums: Mapping[str, Any]) -> None:
        """Adds one step's sums: numbers or arrays with one element."""
        self._added.append(sums)

    def take(self) -> dict[str, float]:
        """Returns the totals since the last call, by name, and starts again from nothing."""
        totals: dict[str, float] = {}
        for sums in self._added:
            for name, value in sums.items():
                totals[name] = totals.get(name, 0.0) + float(value)
        self._added = []
        return totals


def perplexity(nats_per_token: float) -> float:
    """Returns e to the given power, infinity where that is beyond a float."""
    return math.exp(nats_per_token) if nats_per_token < 700 else math.inf


class PhaseTimer:
    """Measures where the time goes: `with timer("data"): …`, any number of times, then `take()`."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    @contextlib.contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Adds the time spent inside the `with` block to `phase`, also where the block raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[phase] = self._seconds.get(phase, 0.0) + time.perf_counter() - start

    def take(self) -> dict[str, float]:
        """Returns each phase's seconds since the last call, and `total`, the wall-clock time since then."""
        now = time.perf_counter()
        seconds = {**self._seconds, "total": now - self._since}
        self._seconds, self._since = {}, now
        return seconds


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the objects of a `metrics.jsonl`, oldest first, without lines that are damaged or half written."""
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            value = json.loads(line)
            if isinstance(value, dict) and all(isinstance(value.get(name), int | float) for name in ("step", "time")):
                lines.append(value)
    return lines


def evaluations(workdir: Path) -> list[dict[str, Any]]:
    """Returns what every evaluation of a run so far measured, oldest first; None is what was not finite."""
    return [line for line in read(workdir / FILE_NAME) if "dev/loss" in line]


class MetricsWriter:
    """Appends to `workdir/metrics.jsonl` and to TensorBoard's files in `workdir/tensorboard`.

    `step` is the last step that is already done: 0 for a new run, the checkpoint's for a resumed one. Where `muted`
    (in all processes of a run but one) nothing is written.
    """

    def __init__(self, workdir: Path, step: int = 0, muted: bool = False) -> None:
        from tensorboardX import SummaryWriter

        self._file = self._tensorboard = None
        if muted:
            return
        workdir.mkdir(parents=True, exist_ok=True)
        path = workdir / FILE_NAME
        if path.exists():
            kept = [line for line in read(path) if line["step"] <= step]
            with whole_file(path) as rewritten:
                rewritten.write("".join(json.dumps(line) + "\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")
        self._tensorboard = SummaryWriter(str(workdir / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes one line of numbers; those that are not finite become null in the JSON.

        The line has left this process when `write` returns: a kill right after it loses nothing.
        """
        if self._file is None or self._tensorboard is None:
            return
        plain = {name: float(value) for name, value in scalars.items()}
        finite = {name: value if math.isfinite(value) else None for name, value in plain.items()}
        self._file.write(json.dumps({"step": step, "time": round(time.time(), 3), **finite}) + "\n")
        self._file.flush()
        for name, value in plain.items():
            self._tensorboard.add_scalar(name, value, step)

    def close(self) -> None:
        """Flushes and closes both."""
        for file in (self._file, self._tensorboard):
            if file is not None:
                file.close()

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Trace:
    """Records what the host and the chips do in a few of the steps that a run is about to make; none of an empty range.

    The trace is written below `workdir/tensorboard`: TensorBoard's profile plugin shows it, and ui.perfetto.dev opens
    its `.trace.json.gz`. The first steps, which compile, are left out where there are more.
    """

    STEPS = 5
    SKIPPED = 20

    def __init__(self, workdir: Path, steps: range) -> None:
        self._folder = workdir / "tensorboard"
        self._traced = steps[self.SKIPPED : self.SKIPPED + self.STEPS] or steps[1:]
        self._running = False

    def after(self, step: int, measured: Any) -> str | None:
        """Starts or ends the trace after this step, whose result is `measured`; when it ends, says where it is."""
        if step not in (self._traced.start, self._traced.stop) or not self._traced:
            return None
        import jax

        jax.block_until_ready(measured)
        if not self._running:
            if step == self._traced.start:
                jax.profiler.start_trace(str(self._folder))
                self._running = True
            return None
        jax.profiler.stop_trace()
        self._running = False
        newest = max(self._folder.rglob("*.trace.json.gz"), key=lambda path: path.stat().st_mtime, default=self._folder)
        return (
            f"the trace of steps {self._traced.start + 1} to {self._traced.stop} is {newest}: open it at "
            "ui.perfetto.dev, or its folder with TensorBoard's profile plugin"
        )

    def __enter__(self) -> Trace:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._running:
            import jax

            jax.profiler.stop_trace()


class NotebookBar:
    """A bar below a notebook's cell, redrawn in its place."""

    EVERY = 0.5
    """Seconds between two drawings."""

    def __init__(self, total_steps: int, step: int) -> None:
        from IPython.display import display

        self._total, self._step, self._text, self._drawn = total_steps, step, "compiling", time.monotonic()
        self._handle: Any = display(self._bundle(), raw=True, display_id=True)

    def show(self, step: int, text: str | None = None, at_once: bool = False) -> None:
        """Moves the bar; where there is no new text the last one stays. Most calls draw nothing."""
        self._step, self._text = step, text or self._text
        if at_once or text or time.monotonic() - self._drawn >= self.EVERY:
            self._drawn = time.monotonic()
            self._handle.update(self._bundle(), raw=True)

    def _bundle(self) -> dict[str, str]:
        text = f"step {self._step}/{self._total}  {self._text}"
        bar = f'<progress value="{self._step}" max="{self._total}" style="width: 20em"></progress>'
        return {"text/plain": text, "text/html": f"{bar} {text}"}


class ProgressBar:
    """Steps, loss, tokens per second and the time left, on standard error.

    On a terminal and in a notebook this is a live bar; elsewhere `report` writes one plain line each time. Standard
    output is never touched but in a notebook: it belongs to `--json` and to translations. Where `muted` nothing is
    shown.
    """

    SILENCE = 30.0
    """Seconds without a line after which one is written where there is no terminal."""

    def __init__(self, total_steps: int, step: int = 0, muted: bool = False) -> None:
        self._total, self._first, self._start = total_steps, step, time.monotonic()
        self._bar = self._console = self._notebook = None
        self._muted, self._said, self._now = muted, self._start, step

    def __enter__(self) -> ProgressBar:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        if console.is_jupyter and not self._muted:
            self._notebook = NotebookBar(self._total, self._first)
        elif console.is_terminal and not console.is_dumb_terminal and not self._muted:
            left = (TextColumn("[dim]left"), TimeRemainingColumn(compact=True, elapsed_when_finished=True))
            columns = (
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.description}"),
                *left,
            )
            self._console, self._bar = console, Progress(*columns, console=console, redirect_stdout=False)
            self._bar.start()
            self._task = self._bar.add_task("compiling", total=self._total, completed=self._first)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._notebook is not None:
            self._notebook.show(self._now, at_once=True)

    def advance(self, step: int) -> None:
        """Moves the bar; where there is none, writes a line after the first step and after a long silence."""
        now, self._now = time.monotonic(), step
        if self._bar is not None:
            self._bar.update(self._task, completed=step)
        elif self._notebook is not None:
            self._notebook.show(step)
        elif step == self._first + 1 or now - self._said >= self.SILENCE:
            self.message(f"step {step}/{self._total}  {now - self._start:.0f} s since the start, compilation included")

    def report(
        self, step: int, loss: float, tokens_per_second: float, chips: int = 1, utilisation: float | None = None
    ) -> None:
        """Shows the loss and the speed of the steps since the last report, in all and for each of several chips.

        `utilisation` is the share of the chips' peak that the model's FLOPs took (MFU).
        """
        text = f"loss {loss:.3f}  {tokens_per_second:,.0f} tokens/s"
        text += f" ({tokens_per_second / chips:,.0f} a chip)" if chips > 1 else ""
        text += "" if utilisation is None else f"  MFU {utilisation:.1%}"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=text)
        else:
            seconds = (time.monotonic() - self._start) / max(step - self._first, 1) * (self._total - step)
            left = f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02}:{int(seconds) % 60:02}"
            if self._notebook is not None:
                self._notebook.show(step, f"{text}  left {left}")
            else:
                self.message(f"step {step}/{self._total}  {text}  left {left}")

    def message(self, text: str) -> None:
        """Writes lines of text above the bar: translations, scores, warnings."""
        self._said, text = time.monotonic(), visible_lines(text)
        if self._console is not None:
            self._console.print(text, markup=False, emoji=False, highlight=False)
        elif not self._muted:
            # Notebooks show standard error as if something had failed.
            print(text, file=sys.stderr if self._notebook is None else sys.stdout, flush=True)
