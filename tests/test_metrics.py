"""Metrics: what is written, what survives a kill and a resume, and how sums become averages."""

import io
import json
import math
import os
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import pytest

from wmt_transformer.train import metrics
from wmt_transformer.train.development import Patience


def write_run(workdir: Path, steps: range, resumed_from: int = 0, loss: float = 1.0) -> None:
    with metrics.MetricsWriter(workdir, resumed_from) as writer:
        for step in steps:
            writer.write(step, {"train/loss": loss})


def test_sums_of_unequal_batches_weigh_every_token_the_same():
    sums = metrics.Sums()
    sums.add({"loss": jnp.float32(30.0), "tokens": jnp.int32(10)})
    sums.add({"loss": jnp.float32(10.0), "tokens": jnp.int32(40)})
    totals = sums.take()
    assert totals == {"loss": 40.0, "tokens": 50.0}
    assert totals["loss"] / totals["tokens"] == 0.8  # by hand; the mean of the two means would be 1.625
    assert sums.take() == {}


def test_a_run_is_out_of_patience_when_no_new_loss_is_below_the_older_ones():
    patience = Patience([], evaluations=2)
    for loss, done in ((3.0, False), (math.nan, False), (2.5, False), (2.6, False), (2.5, True), (2.4, False)):
        patience.add({"dev/loss": loss})
        assert patience.is_over() == done, loss
    assert not Patience([{"dev/loss": 1.0}] * 9, evaluations=0).is_over()


def test_early_stopping_reads_the_losses_of_the_run_so_far_or_its_scores_where_these_are_asked_for(tmp_path: Path):
    with metrics.MetricsWriter(tmp_path) as writer:
        for step, loss in ((1, 3.0), (2, math.inf), (3, 2.0)):
            writer.write(step, {"dev/loss": loss, "dev/bleu": 0.0, "dev/score": 0.0})
    so_far = metrics.evaluations(tmp_path)
    assert [line["dev/loss"] for line in so_far] == [3.0, None, 2.0]
    assert not Patience(so_far, evaluations=1).is_over()  # the score has never moved, and the loss has
    assert Patience(so_far, 1, "score").is_over()
    assert not Patience([*so_far, {"dev/loss": 4.0, "dev/score": 0.1}], 1, "score").is_over()  # higher is better


def test_perplexity_is_the_exponential_and_a_diverged_loss_is_infinite():
    assert perplexity_of_uniform(8) == pytest.approx(8.0)
    assert metrics.perplexity(1e6) == math.inf


def perplexity_of_uniform(choices: int) -> float:
    return metrics.perplexity(-math.log(1 / choices))


def test_timer_adds_up_each_phase_and_starts_again_after_a_report():
    timer = metrics.PhaseTimer()
    for _ in range(2):
        with timer("data"):
            time.sleep(0.02)
    with pytest.raises(ValueError, match="inside"), timer("step"):
        raise ValueError("inside")
    seconds = timer.take()
    assert set(seconds) == {"data", "step", "total"}
    assert 0.04 <= seconds["data"] <= seconds["total"]
    assert set(timer.take()) == {"total"}


def test_one_json_object_a_line_is_on_disk_as_soon_as_it_is_written(tmp_path: Path):
    with metrics.MetricsWriter(tmp_path) as writer:
        writer.write(100, {"train/loss": jnp.float32(2.5)})
        line = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert (line["step"], line["train/loss"]) == (100, 2.5)


def test_a_loss_that_is_not_finite_is_written_as_null(tmp_path: Path):
    with metrics.MetricsWriter(tmp_path) as writer:
        writer.write(1, {"train/loss": math.nan, "train/gradient_norm": math.inf})
    text = (tmp_path / "metrics.jsonl").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert metrics.read(tmp_path / "metrics.jsonl")[0]["train/loss"] is None


def test_a_resumed_run_writes_no_step_twice(tmp_path: Path):
    write_run(tmp_path, range(1, 8), loss=1.0)
    write_run(tmp_path, range(5, 9), resumed_from=4, loss=2.0)
    lines = metrics.read(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [line["train/loss"] for line in lines] == [1.0] * 4 + [2.0] * 4


def test_a_half_written_last_line_is_dropped_by_readers_and_by_the_next_run(tmp_path: Path):
    write_run(tmp_path, range(1, 4))
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-20])
    assert [line["step"] for line in metrics.read(path)] == [1, 2]
    write_run(tmp_path, range(3, 5), resumed_from=3)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "damaged", ['{"stfp": 2, "time": 1.0}', '{"step": "2", "time": 1.0}', '{"step": 2, "tim\x00": 1.0}', "[2]"]
)
def test_a_damaged_line_is_dropped_by_readers_and_by_the_next_run(tmp_path: Path, damaged: str):
    write_run(tmp_path, range(1, 4))
    path = tmp_path / "metrics.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], damaged, lines[2], ""]))
    assert [line["step"] for line in metrics.read(path)] == [1, 3]
    write_run(tmp_path, range(4, 5), resumed_from=3)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 3, 4]


def test_tensorboard_shows_the_same_numbers(tmp_path: Path):
    from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]  made at import
    from tensorboardX.record_writer import masked_crc32c

    with metrics.MetricsWriter(tmp_path) as writer:
        writer.write(7, {"dev/bleu": 41.0})
    (path,) = (tmp_path / "tensorboard").iterdir()
    data, found = path.read_bytes(), {}
    while data:  # the record format of TFRecord: length, its checksum, the event, its checksum
        length = int.from_bytes(data[:8], "little")
        body = data[12 : 12 + length]
        assert int.from_bytes(data[12 + length : 16 + length], "little") == masked_crc32c(body)
        event = Event.FromString(body)
        found.update({(value.tag, event.step): value.simple_value for value in event.summary.value})
        data = data[16 + length :]
    assert found == {("dev/bleu", 7): 41.0}


def test_without_a_terminal_each_report_is_one_plain_line_on_standard_error(
    capsys: pytest.CaptureFixture[str],
):
    with metrics.ProgressBar(total_steps=200, step=50) as bar:
        bar.advance(60)
        bar.report(100, loss=3.14159, tokens_per_second=7123.4)
        bar.message("dev [bleu] 12.3")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].startswith("step 100/200  loss 3.142  7,123 tokens/s  left 0:00:")
    assert err.splitlines()[1:] == ["dev [bleu] 12.3"]


def test_without_a_terminal_the_first_step_and_a_step_after_a_long_silence_are_a_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    with metrics.ProgressBar(total_steps=200, step=50) as bar:
        for clock[0], step in ((20.0, 51), (21.0, 52), (49.0, 53), (51.0, 54), (52.0, 55)):
            bar.advance(step)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 51/200", "step 54/200"]
    assert "20 s since the start" in lines[0]


def test_on_a_terminal_the_bar_shows_steps_loss_and_speed(monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    for variable in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(variable, raising=False)
    with metrics.ProgressBar(total_steps=200) as bar:
        bar.report(100, loss=3.14159, tokens_per_second=7123.4)
        bar.message("dev [bleu] 12.3\n  a :dog: \x1b[2J\u202e")
    shown = terminal.getvalue()
    assert "100/200" in shown and "loss 3.142" in shown and "7,123 tokens/s" in shown
    assert "dev [bleu] 12.3" in shown and "a :dog: <U+001B>[2J<U+202E>" in shown and "\x1b[2J" not in shown


CELL = """
from wmt_transformer.train.metrics import ProgressBar

with ProgressBar(total_steps=4) as bar:
    for step in range(1, 5):
        bar.advance(step)
    bar.report(3, loss=3.14159, tokens_per_second=7123.4)
    bar.message("dev [bleu] 12.3")
    bar.advance(4)
"""


def test_in_a_notebook_the_bar_is_redrawn_in_its_place(tmp_path: Path):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed: it comes with the extra `test`")
    from nbclient import NotebookClient

    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute(env=environment)
    bar, message = notebook.cells[0].outputs
    assert bar.output_type == "display_data"
    assert '<progress value="4" max="4"' in bar.data["text/html"]
    assert bar.data["text/plain"].startswith("step 4/4  loss 3.142  7,123 tokens/s  left 0:00:")
    assert (message.name, message.text) == ("stdout", "dev [bleu] 12.3\n")
