"""Several real processes as the hosts of one run (gloo on CPU), against one process that does it all."""

import contextlib
import dataclasses
import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from commands import ROOT, params_of, run

from wmt_transformer import checkpoint
from wmt_transformer.config import UserError
from wmt_transformer.train import hosts
from wmt_transformer.train import roll_call as roll_calls

STEPS = 24
WATCH = ["--train.steps", STEPS, "--train.log_every", 1, "--train.evaluate_every", 8]
SETTINGS = [*WATCH, "--train.warmup_steps", 200, "--data.num_shapes", 1]
NO_BLEU = ["--train.evaluate_pairs", 0]
"""Saves the compilation of the search, where another test has it."""


def launch(processes: int, *arguments: object, devices: int = 1) -> subprocess.Popen:
    """Starts a command in several processes; all they write is in one pipe."""
    words = [sys.executable, "launch/cpu_processes.py", "-n", processes, "--devices", devices, "--", *arguments]
    return subprocess.Popen(
        list(map(str, words)), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finished(process: subprocess.Popen, code: int = 0) -> str:
    """Waits for the end of a launch, which must have this exit code; returns what it wrote."""
    said, _ = process.communicate(timeout=240)
    assert process.returncode == code, said
    return said


def train(processes: int, workdir: Path, *arguments: object, devices: int = 1) -> str:
    toy = next(parent for parent in [workdir.parent, *workdir.parents] if (parent / "toy.py").exists())
    return finished(
        launch(processes, "train", toy / "toy.py", "--workdir", workdir, *SETTINGS, *arguments, devices=devices)
    )


def curve(workdir: Path) -> dict[int, dict[str, float]]:
    """Returns what each step of a run measured that does not depend on the clock."""
    steps: dict[int, dict[str, float]] = {}
    for line in map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines()):
        names = ("train/loss", "train/gradient_norm", "train/target_tokens_per_step", "dev/loss", "dev/bleu")
        if line.keys() & set(names):
            steps.setdefault(line["step"], {}).update({name: line[name] for name in names if name in line})
    return steps


def assert_same_run(workdir: Path, one: Path) -> None:
    """The same losses at every step and the same parameters at the end, within rounding.

    The loss of a step is the loss of its sentences, so a sentence that is skipped or comes twice shows in it, and in
    the number of its tokens, which has to be the same to the last one.
    """
    assert sorted(curve(one)) == sorted(curve(workdir)) == list(range(1, STEPS + 1))
    whole, tokens = curve(one), "train/target_tokens_per_step"
    for step, measured in curve(workdir).items():
        assert measured == pytest.approx({name: whole[step][name] for name in measured}, rel=1e-5), step
        assert measured[tokens] == whole[step][tokens]
    both = zip(*(jax.tree.leaves(params_of(folder, STEPS)) for folder in (workdir, one)), strict=True)
    # Adam divides by the root of the second moment: where that is tiny, rounding in a gradient weighs more.
    assert max(np.abs(a - b).max() for a, b in both) < 2e-5


@pytest.fixture(scope="module")
def one(toy) -> Path:
    """The run of one process with one device."""
    assert run("train", toy / "toy.py", "--workdir", toy / "one", *SETTINGS) == 0
    return toy / "one"


def stop(process: subprocess.Popen, workdir: Path) -> int:
    """Sends SIGTERM to a launch once its run makes steps; returns the step at which it stopped and saved."""
    while not (workdir / "metrics.jsonl").exists() or not (workdir / "metrics.jsonl").read_text():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    said = finished(process, 128 + signal.SIGTERM)
    assert "Traceback" not in said and "stopped by a signal" in said
    (newest,) = checkpoint.steps(workdir)[-1:]
    assert 1 <= newest < STEPS
    return newest


# ---- The same run


@pytest.mark.multihost
def test_two_processes_learn_what_one_does(toy, one):
    train(2, toy / "two")
    assert "dev/bleu" in curve(toy / "two")[STEPS]
    assert_same_run(toy / "two", one)


@pytest.mark.multihost
@pytest.mark.slow
def test_a_run_of_two_processes_that_is_stopped_goes_on_as_one_process_with_another_mesh(toy, one):
    workdir = toy / "mixed"
    fsdp = launch(2, "train", toy / "toy.py", "--workdir", workdir, *SETTINGS, *NO_BLEU, "--mesh.fsdp", 2)
    step = stop(fsdp, workdir)
    assert f"resuming at step {step}" in train(1, workdir, *NO_BLEU, "--mesh.tensor", 2, devices=2)
    assert_same_run(workdir, one)


@pytest.mark.multihost
def test_two_processes_start_from_a_parent_as_one_does(toy, one):
    alone, both, parent = toy / "child of one", toy / "child of two", [*NO_BLEU, "--from", toy / "run"]
    assert run("train", toy / "toy.py", "--workdir", alone, *SETTINGS, *parent) == 0
    assert f"starting from {toy / 'run'}" in train(2, both, *parent)
    assert_same_run(both, alone)
    first = {workdir: curve(workdir)[1]["train/loss"] for workdir in (one, both)}
    assert first[both] < first[one] - 0.01  # of the parent's weights, on the same batch


@pytest.mark.multihost
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_four_processes_that_are_stopped_go_on_as_two_and_as_four_with_other_meshes(toy, one):
    workdir = toy / "four"
    mesh = [*NO_BLEU, "--mesh.fsdp", 2, "--mesh.tensor", 2]
    first = stop(launch(4, "train", toy / "toy.py", "--workdir", workdir, *SETTINGS, *mesh), workdir)
    # To a step at which the dev set is measured anyhow: where a run ends, it is.
    between = next(step for step in (16, 24) if step > first)
    said = train(2, workdir, *NO_BLEU, "--train.steps", between, "--mesh.tensor", 2, devices=2)
    assert f"resuming at step {first}" in said
    assert f"resuming at step {between}" in train(4, workdir, *NO_BLEU) or between == STEPS
    assert_same_run(workdir, one)


# ---- What goes wrong


def arguments(index: int, count: int, port: int, timeout: float = 3) -> list[object]:
    place = ["--coordinator", f"localhost:{port}", "--num-processes", count, "--process-id", index]
    return [*place, "--start-timeout", timeout]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return one.getsockname()[1] - 1  # the roll call is at the port after it


def in_processes(
    commands: list[list[object]],
    program: list[str] = ["-m", "wmt_transformer"],  # noqa: B006 - never changed
) -> list[tuple[int, str]]:
    """Runs the command line with these arguments, all at once; returns exit codes and what went to standard error."""
    started = [
        subprocess.Popen(
            [sys.executable, *program, *map(str, command)],
            cwd=ROOT,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    said = [process.communicate(timeout=240)[1] for process in started]
    return list(zip([process.returncode for process in started], said, strict=True))


@pytest.mark.multihost
@pytest.mark.parametrize(("came", "missing"), [([0, 2], "process 1 of 3 did not"), ([1], "process 0 did not answer")])
def test_a_process_that_does_not_come_is_named_in_time_by_all_that_came(toy, came, missing):
    port, begin = free_port(), time.monotonic()
    command = ["train", toy / "toy.py", "--workdir", toy / "alone"]
    for code, said in in_processes([[*command, *arguments(index, 3, port)] for index in came]):
        assert code == 2 and said.startswith("wmt-transformer: ") and missing in said and said.count("\n") == 1
    assert time.monotonic() - begin < 60  # 3 s, and the time that starting takes
    assert not (toy / "alone").exists()


@pytest.mark.multihost
def test_a_process_with_other_data_is_named(toy, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for path in toy.glob("*.??"):
            if path.suffix in (".en", ".de"):
                lines = path.read_text().splitlines(keepends=True)
                (tmp_path / name / path.name).write_text("".join(lines[: 150 if name == "b" else 200]))
    port = free_port()
    ends = in_processes(
        [
            ["train", toy / "toy.py", "--data.path", tmp_path / name, "--workdir", tmp_path / f"run {name}", *place]
            for name, place in zip("ab", [arguments(index, 2, port, timeout=60) for index in range(2)], strict=True)
        ]
    )
    for code, said in ends:
        last = said.splitlines()[-1]
        assert code == 2 and "the prepared corpus of process 1 differs from that of process 0" in last.replace(
            "vocabulary", "corpus"
        ), said


@pytest.mark.multihost
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["--mesh.data", 3], "--mesh.data 3 --mesh.fsdp 1 --mesh.tensor 1 does not multiply to the 2 devices"),
        (["--data.batch_multiple", 3], "--data.batch_multiple 3 is not a multiple of the 2 devices that rows"),
    ],
)
def test_a_mesh_that_does_not_fit_is_one_line_of_each_process(toy, tmp_path, settings, message):
    said = finished(launch(2, "train", toy / "toy.py", "--workdir", tmp_path / "w", *settings), code=2)
    for index in range(2):
        (line,) = [line for line in said.splitlines() if line.startswith(f"[{index}] wmt-transformer:")]
        assert message in line
    assert "Traceback" not in said


@pytest.mark.multihost
def test_a_folder_in_use_stops_all_processes_at_once(toy, tmp_path):
    import fcntl

    workdir = tmp_path / "w"
    workdir.mkdir()
    with open(workdir / ".lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        said = finished(launch(2, "train", toy / "toy.py", "--workdir", workdir), code=2)
    assert f"[0] wmt-transformer: {workdir} is in use" in said
    assert "[1] wmt-transformer: process 0 could not begin" in said and "Traceback" not in said


@pytest.mark.slow
@pytest.mark.multihost
def test_when_one_process_is_killed_the_others_end_and_the_run_goes_on_when_started_again(toy):
    workdir = toy / "killed"
    settings = [*SETTINGS, *NO_BLEU, "--train.steps", 100_000]
    process = launch(2, "train", toy / "toy.py", "--workdir", workdir, *settings)
    while not checkpoint.steps(workdir):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[1]), signal.SIGKILL)
    finished(process, code=128 + signal.SIGKILL)
    steps = checkpoint.steps(workdir)
    assert f"resuming at step {steps[-1]}" in train(2, workdir, *NO_BLEU, "--train.steps", steps[-1] + 1)


# ---- The roll call by itself


def roll_call(index: int, count: int, port: int, said: dict[int, str], timeout: float = 5.0) -> None:
    try:
        roll_calls.roll_call(("localhost", port), hosts.Hosts("", count, index, timeout))
        said[index] = "go"
    except UserError as error:
        said[index] = str(error)


def all_said(calls: list[tuple[int, int]], timeout: float = 5.0) -> dict[int, str]:
    """Lets threads take part in a roll call: each is (index, how many it counts)."""
    said: dict[int, str] = {}
    port = free_port()
    threads = [threading.Thread(target=roll_call, args=(*call, port, said, timeout)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"coordinator": "localhost"}, "--coordinator localhost"),
        ({"coordinator": "localhost:0"}, "localhost:0"),
        ({"coordinator": "localhost:65535"}, "below 65535"),
        ({"coordinator": "localhost:99999999"}, "below 65535"),
        ({"coordinator": "localhost:²"}, "localhost:²"),
        ({"index": 2}, "--process-id 2"),
        ({"index": -1}, "--process-id -1"),
        ({"timeout": math.nan}, "--start-timeout nan"),
        ({"timeout": -1.0}, "--start-timeout -1"),
    ],
)
def test_a_place_of_a_process_that_cannot_be_is_one_line(given, named):
    with pytest.raises(UserError, match=re.escape(named)):
        hosts.start(dataclasses.replace(hosts.Hosts("localhost:9000", 2, 1), **given))


def test_a_roll_call_ends_when_all_are_there():
    assert all_said([(1, 3), (0, 3), (2, 3)]) == {0: "go", 1: "go", 2: "go"}


def test_a_roll_call_names_all_that_are_missing():
    said = all_said([(0, 5), (3, 5)], timeout=1.0)
    assert said[0] == said[3] == "process 1, 2, 4 of 5 did not come within 1 s; is it running?"


def test_a_roll_call_refuses_a_process_that_counts_otherwise():
    said = all_said([(0, 3), (1, 2)], timeout=2.0)
    assert "counts 2 instead of 3" in said[0] and said[0] == said[1]


def test_a_silent_connection_and_a_stranger_keep_nobody_waiting():
    port, begin, said = free_port(), time.monotonic(), {}
    main = threading.Thread(target=roll_call, args=(0, 2, port, said, 20.0))
    main.start()
    with contextlib.ExitStack() as open_until_the_end:
        for words in (None, b"1 2\n", b"GET / HTTP/1.1\r\n\r\n", b'{"index": 1, "count": 2, "run": ""}\n', b"[]\n"):
            stranger = open_until_the_end.enter_context(connected(port))
            if words:
                stranger.sendall(words)
        roll_call(1, 2, port, said, 20.0)
        main.join()
    assert said == {0: "go", 1: "go"} and time.monotonic() - begin < 5


def connected(port: int) -> socket.socket:
    """Connects to the roll call as soon as it listens."""
    while True:
        with contextlib.suppress(OSError):
            return socket.create_connection(("localhost", port))
        time.sleep(0.02)


def test_an_answer_of_a_stranger_is_none():
    def answer(server: socket.socket) -> None:
        with contextlib.suppress(OSError), server.accept()[0] as connection:
            connection.sendall(b"go\n")

    with socket.create_server(("localhost", 0)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        with pytest.raises(UserError, match="process 0 did not answer"):
            roll_calls.roll_call(("localhost", server.getsockname()[1]), hosts.Hosts("", 2, 1, 0.1))


def test_a_process_of_another_run_is_refused():
    said: dict[int, str] = {}
    port = free_port()
    main = threading.Thread(target=roll_call, args=(0, 2, port, said))
    main.start()
    with pytest.raises(UserError, match=r"process 1 of another run came \(theirs, this is \)"):
        roll_calls.roll_call(("localhost", port), hosts.Hosts("", 2, 1, 5.0, run="theirs"))
    main.join()


def test_process_0_listens_where_the_others_look_for_it_and_nowhere_else():
    with roll_calls._listen(("127.0.0.1", free_port())) as server:
        assert server.getsockname()[0] == "0.0.0.0"  # a name of this host's own that no other host can use
    with roll_calls._listen(("localhost", free_port())) as server:
        assert server.getsockname()[0] in ("127.0.0.1", "::1")


# ---- Waiting for one process


@pytest.mark.multihost
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_preparation_that_takes_longer_than_collectives_wait_is_waited_for_and_named(toy):
    """Process 0 takes 40 s; gloo, over which CPUs exchange numbers, gives up after 30."""
    script = (
        "import sys, time\n"
        "from wmt_transformer import cli\n"
        "from wmt_transformer.data import runs\n"
        "from wmt_transformer.train import hosts\n"
        "prepare, hosts.WAIT_SECONDS = runs.prepare_data, 5.0\n"
        "def slowly(*arguments):\n"
        "    if hosts.is_main(): time.sleep(40)\n"
        "    return prepare(*arguments)\n"
        "runs.prepare_data = slowly\n"
        "cli.main(sys.argv[1:])\n"
    )
    port = free_port()
    command = ["train", toy / "toy.py", "--workdir", toy / "slow", *SETTINGS, *NO_BLEU, "--train.steps", 2]
    ends = in_processes([[*command, *arguments(i, 2, port, timeout=60)] for i in range(2)], ["-c", script])
    assert [code for code, _ in ends] == [0, 0], ends
    assert "waiting for process 0: preparing the data" in ends[1][1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (hosts.Hosts("here:1", 2, 2), "--process-id 2 is not one of 2 processes, 0 to 1"),
        (hosts.Hosts("here", 2, 0), "expected host:port"),
    ],
)
def test_a_place_that_cannot_be_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        hosts.start(given)
