"""The files of launch/: scripts that parse and that shellcheck finds nothing in, dry runs that print the commands of a
whole life of a run, YAML with what a TPU slice needs, and `gs://` paths. Nothing here needs a cloud."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import ROOT, refused, run

from wmt_transformer.cli import parser, serve

LAUNCH = ROOT / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])
pytestmark = pytest.mark.skipif(not shutil.which("bash"), reason="no bash on this machine")


def dry_run(script: str, *words: str, code: int = 0, **variables: str) -> list[list[str]]:
    """Returns the commands that a script would run, each as its words."""
    environment = {"PATH": os.environ["PATH"], "DRY_RUN": "1", **variables}
    done = subprocess.run(
        ["bash", f"launch/{script}", *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code, done.stderr
    if code:
        assert done.stdout == "" and done.stderr.count("\n") == 1
        return [[done.stderr]]
    commands = re.split(r"^\+ ", done.stdout, flags=re.MULTILINE)[1:]
    return [shlex.split(command) for command in commands]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_parses_and_shellcheck_finds_nothing(script):
    subprocess.run(["bash", "-n", script], check=True)
    shellcheck = Path(sys.executable).with_name("shellcheck")
    if not shellcheck.exists():
        pytest.skip("shellcheck is not installed; the extra `test` brings it")
    found = subprocess.run(
        [shellcheck, "--shell=bash", "--external-sources", "--source-path=SCRIPTDIR", "--source-path=launch", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout


# ---- Cloud TPU VMs


def tpu(*words: str, **variables: Any) -> list[list[str]]:
    return dry_run("tpu_vm.sh", *words, NAME="me", ZONE="z", WORKDIR="gs://b/run", **variables)


def remote(command: list[str]) -> str:
    """Returns what a gcloud ssh command runs on the workers."""
    return next(word for word in command if word.startswith("--command=")).removeprefix("--command=")


def test_every_verb_of_the_tpu_script_is_the_gcloud_command_that_google_documents():
    slices = ["gcloud", "compute", "tpus", "queued-resources"]
    slice_ = ["--node-id=me", "--zone=z", "--accelerator-type=v6e-16", "--runtime-version=v2-alpha-tpuv6e"]
    made = ["create", "me", *slice_, "--spot"]
    assert tpu("create", TYPE="v6e-16") == [slices + made]
    assert tpu("create", TYPE="v6e-16", SPOT="") == [slices + made[:-1]]
    assert tpu("delete") == [[*slices, "delete", "me", "--zone=z", "--force", "--quiet"]]
    assert tpu("fetch", OUT="o") == [
        ["mkdir", "-p", "o"],
        ["gcloud", "storage", "rsync", "--recursive", "gs://b/run", "o"],
    ]
    ssh = ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "me", "--zone=z"]
    assert tpu("logs") == [[*ssh, "--worker=0", "--command=tail -n 50 -f ~/train.log"]]
    (stop,) = tpu("stop")
    assert stop[:-1] == [*ssh, "--worker=all"] and "kill -TERM" in stop[-1]


@pytest.mark.parametrize(
    ("kind", "devices"), [("v5litepod-16", 16), ("v6e-256", 256), ("v5p-16", 8), ("v4-32", 16), ("v3-32", 32)]
)
def test_the_preflight_expects_every_device_of_the_slice_on_all_workers(kind, devices):
    *_, check = tpu("preflight", TYPE=kind)
    assert "--worker=all" in check and f"assert n == {devices}," in remote(check)
    *_, program = shlex.split(remote(check))
    compile(program, "preflight", "exec")


def test_a_run_on_a_slice_prepares_once_and_trains_on_all_workers_with_its_arguments_whole():
    prepare, train = tpu("run", "base", "--data.path", "gs://b/it's my corpus")
    assert "--worker=0" in prepare and "--worker=all" in train
    words = shlex.split(remote(prepare))
    expected = ["base", "--data.path", "gs://b/it's my corpus", "--workdir", "gs://b/run"]
    assert words == ["~/venv/bin/wmt-transformer", "prepare", *expected]
    # On the worker a shell starts another one: what that is given is the command.
    (inner,) = [word for word in shlex.split(remote(train)) if "wmt-transformer train" in word]
    assert shlex.split(inner.partition(" &")[0]) == ["~/venv/bin/wmt-transformer", "train", *expected, "--cluster"]
    subprocess.run(["bash", "-n", "-c", remote(train)], check=True)


def test_resuming_after_a_preemption_is_everything_again_in_order():
    said = [" ".join(command) for command in tpu("resume", "base")]
    steps = [
        *(
            "queued-resources delete",
            "queued-resources create",
            "--require-hashes",
            "device_count",
            "tar --exclude",
            "tpu-vm scp",
        ),
        *("uv pip install", "gcsfuse", "wmt-transformer prepare", "nohup bash -c"),
    ]
    assert len(said) == len(steps)
    assert all(step in command for step, command in zip(steps, said, strict=True)), said
    assert [" ".join(command) for command in tpu("watch", "base")][1:] == said


@pytest.mark.parametrize(
    ("words", "variables", "message"),
    [
        ([], {}, "expected create, preflight"),
        (["run"], {}, "give the config's name"),
        (["run", "base"], {"WORKDIR": "runs/base"}, "all workers have to see it"),
        (["create"], {"TYPE": "h100-8"}, "TYPE=h100-8 is not known"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(words, variables, message):
    ((said,),) = dry_run("tpu_vm.sh", *words, code=2, **variables)
    assert message in said


# ---- With programs that only pretend


class Pretend:
    """A folder of programs that note how they are called, and answer as a test says, before the real ones on PATH."""

    def __init__(self, folder: Path):
        self.bin, self.calls = folder / "bin", folder / "calls"
        self.bin.mkdir()
        self.calls.touch()

    def program(self, name: str, answer: str = "") -> None:
        """Makes a program of the lines of bash that answer; $* is what it was called with."""
        (self.bin / name).write_text(f'#!/usr/bin/env bash\necho "{name} $*" >> {self.calls}\n{answer}\n')
        (self.bin / name).chmod(0o755)

    def run(self, script: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": f"{self.bin}:{os.environ['PATH']}", "POLL": "0", "HOME": str(self.bin), **variables}
        return subprocess.run(
            ["bash", f"launch/{script}", *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def called(self) -> str:
        return self.calls.read_text()


@pytest.fixture
def pretend(tmp_path: Path) -> Pretend:
    return Pretend(tmp_path)


def slice_of(pretend: Pretend, describe: str, ended: str) -> None:
    """Pretends a slice: bash that tells its state, and what its first worker says of the run."""
    pretend.program(
        "gcloud",
        f"""case "$*" in
          *queued-resources\\ describe*) {describe} ;;
          *train.code*2*) printf '{ended}' ;;
        esac""",
    )


WATCH = {"NAME": "me", "ZONE": "z", "WORKDIR": "gs://b/run"}


def test_watching_a_run_that_the_user_stops_does_not_make_the_slice_again(pretend):
    slice_of(pretend, "echo ACTIVE", r"143\n/home/me/train.stopped\n")
    done = pretend.run("tpu_vm.sh", "watch", "base", **WATCH)
    assert done.returncode == 0 and "was stopped" in done.stderr
    assert "create" not in pretend.called() and "delete" not in pretend.called()


def test_watching_a_slice_that_the_user_deletes_does_not_make_it_again(pretend):
    slice_of(pretend, "echo 'ERROR: NOT_FOUND: no such resource' >&2; exit 1", "")
    done = pretend.run("tpu_vm.sh", "watch", "base", **WATCH)
    assert done.returncode == 2 and "me was deleted" in done.stderr and "create" not in pretend.called()


def test_a_gcloud_that_fails_is_asked_again_and_deletes_nothing(pretend):
    failing = (
        f"[[ $(grep -c describe {pretend.calls}) -gt 2 ]] || {{ echo 'connection reset' >&2; exit 1; }}; echo ACTIVE"
    )
    slice_of(pretend, failing, r"0\n")
    done = pretend.run("tpu_vm.sh", "watch", "base", **WATCH)
    assert done.returncode == 0 and pretend.called().count("describe") == 3 and "delete" not in pretend.called()


def test_watching_a_slice_that_is_preempted_makes_it_again_and_goes_on(pretend):
    again = f"grep -q 'resources create' {pretend.calls} && echo ACTIVE || echo SUSPENDED"
    slice_of(pretend, again, r"0\n")
    pretend.program("tar")
    done = pretend.run("tpu_vm.sh", "watch", "base", **WATCH)
    assert done.returncode == 0, done.stderr
    order = [pretend.called().index(word) for word in ("resources delete", "resources create", "nohup bash -c")]
    assert order == sorted(order)


def test_an_archive_is_written_under_no_name_that_somebody_could_have_taken(pretend, tmp_path):
    pretend.program("gcloud", "[[ $* != *scp* ]] || for word; do [[ ! -f $word ]] || echo sent; done")
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "wmt_transformer.tar.gz").symlink_to(tmp_path / "mine")
    (tmp_path / "source").mkdir()
    done = pretend.run("tpu_vm.sh", "install", TMPDIR=str(tmp_path), SOURCE=str(tmp_path / "source"), **WATCH)
    assert done.returncode == 0 and done.stdout == "sent\n", done
    assert (tmp_path / "mine").read_text() == "mine"
    left = {"bin", "calls", "mine", "source", "wmt_transformer.tar.gz"}
    assert {path.name for path in tmp_path.iterdir()} == left


@pytest.mark.parametrize(("state", "again"), [("RUNNING", True), ("CANCELLED", False), ("COMPLETING", False)])
def test_slurm_queues_a_stopped_run_again_and_not_a_cancelled_one(pretend, state, again):
    pretend.program("srun", "[[ $* != *train* ]] || exit 143")
    pretend.program("scontrol", "echo node7")
    pretend.program("squeue", f"echo {state}")
    place = {"SLURM_JOB_ID": "20007", "SLURM_NTASKS": "4", "SLURM_JOB_NODELIST": "node[7-8]", "PROGRAM": "wmt"}
    done = pretend.run("slurm.sbatch", "base", "--workdir", "/shared/run", **place)
    assert done.returncode == 143 and ("scontrol requeue 20007" in pretend.called()) == again
    assert "--coordinator node7:20014" in pretend.called()


# ---- Others


def test_slurm_gives_every_task_its_place_and_queues_a_stopped_run_again():
    prepare, train, again = dry_run(
        "slurm.sbatch", "base", "--workdir", "/shared/run", SLURM_JOB_ID="20007", SLURM_NTASKS="4", PROGRAM="wmt"
    )
    assert prepare == ["srun", "--nodes=1", "--ntasks=1", "wmt", "prepare", "base", "--workdir", "/shared/run"]
    place = ["--coordinator", "node1:20014", "--num-processes", "4"]
    assert train[-9:] == ["wmt", "train", "base", "--workdir", "/shared/run", *place]
    assert '--process-id "$SLURM_PROCID"' in " ".join(train)
    assert again == ["scontrol", "requeue", "20007"]


def test_one_machine_checks_its_gpus_and_runs_one_process():
    check, train = dry_run("gpus.sh", "base", "--workdir", "w", GPUS="0,2,5", BIN="bin")
    assert "assert n == 3," in check[-1]
    compile(check[-1], "check", "exec")
    assert train == ["exec", "bin/wmt-transformer", "train", "base", "--workdir", "w"]


def test_xpk_prepares_without_chips_and_creates_a_workload_that_finds_its_hosts():
    place: dict[str, Any] = {"PROJECT": "p", "ZONE": "z", "CLUSTER": "c", "BUCKET": "b", "IMAGE": "i"}
    prepare, (*words, command) = dry_run("gke_xpk.sh", "run", "base", "--workdir", "gs://b/run", **place)
    assert prepare[:2] == ["kubectl", "run"] and prepare[-5:] == ["--", "prepare", "base", "--workdir", "gs://b/run"]
    pod = json.loads(next(word for word in prepare if word.startswith("--overrides=")).removeprefix("--overrides="))
    (mount,), (volume,) = pod["spec"]["containers"][0]["volumeMounts"], pod["spec"]["volumes"]
    assert pod["spec"]["containers"][0]["name"] == prepare[2] and mount["name"] == volume["name"]
    assert (mount["mountPath"], volume["csi"]["volumeAttributes"]["bucketName"]) == ("/gcs/b", "b")
    assert words[:3] == ["xpk", "workload", "create"]
    assert {"--cluster=c", "--project=p", "--zone=z", "--tpu-type=v5litepod-16", "--docker-image=i"} <= set(words)
    assert command == "--command=wmt-transformer train base --workdir gs://b/run --cluster"
    ((*words,),) = dry_run("gke_xpk.sh", "attach", **place)
    assert {"--type=gcsfuse", "--bucket=b", "--mount-point=/gcs/b", "--readonly=false"} <= set(words)


def test_the_jobset_asks_for_a_whole_slice_and_starts_all_its_hosts_again_together():
    jobset = yaml.safe_load((LAUNCH / "gke_jobset.yaml").read_text())
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] > 0
    prepare, job = jobset["spec"]["replicatedJobs"]
    assert job["dependsOn"] == [{"name": prepare["name"], "status": "Complete"}]
    template = job["template"]["spec"]
    assert template["parallelism"] == template["completions"] and template["backoffLimit"] == 0
    pod = template["template"]["spec"]
    assert pod["restartPolicy"] == "Never" and pod["terminationGracePeriodSeconds"] >= 30
    topology = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
    assert "cloud.google.com/gke-tpu-accelerator" in pod["nodeSelector"]
    (container,) = pod["containers"]
    chips = container["resources"]["limits"]["google.com/tpu"]
    assert container["resources"]["requests"]["google.com/tpu"] == chips
    rows, columns = map(int, topology.split("x"))
    assert rows * columns == chips * template["parallelism"]
    (mount,), (volume,) = container["volumeMounts"], pod["volumes"]
    bucket = volume["csi"]["volumeAttributes"]["bucketName"]
    assert volume["csi"]["driver"] == "gcsfuse.csi.storage.gke.io" and mount["name"] == volume["name"]
    assert mount["mountPath"] == f"/gcs/{bucket}"
    assert template["template"]["metadata"]["annotations"]["gke-gcsfuse/volumes"] == "true"
    verb, config, *rest = container["args"]
    assert (verb, (ROOT / "configs" / f"{config}.py").is_file()) == ("train", True)
    assert rest == ["--workdir", f"gs://{bucket}/runs/base", "--cluster"]
    first = prepare["template"]["spec"]["template"]["spec"]
    assert first["containers"][0]["args"] == ["prepare", config, *rest[:-1]]
    assert first["volumes"] == pod["volumes"] and first["containers"][0]["volumeMounts"] == [mount]
    assert not any("tpu" in name for name in first["containers"][0]["resources"]["requests"])


def test_every_config_that_launch_names_is_there():
    for path in LAUNCH.iterdir():
        for name in re.findall(r"\bwmt14_\w+", path.read_text()) if path.is_file() else []:
            assert (ROOT / "configs" / f"{name}.py").is_file(), (path, name)


# ---- gs://


def test_gs_paths_are_those_of_the_mounted_bucket(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WMT_TRANSFORMER_BUCKETS", str(tmp_path))
    shutil.copytree(toy / "run", tmp_path / "bucket" / "runs" / "toy")
    assert run("translate", "--workdir", "gs://bucket/runs/toy", "red cat") == 0
    assert run("info", "gs://bucket/runs/toy") == 0
    assert run("translate", "--workdir=gs://bucket/runs/toy", "red cat") == 0
    assert not Path("gs:").exists()


def test_a_bucket_that_is_not_mounted_is_one_line(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WMT_TRANSFORMER_BUCKETS", str(tmp_path))
    said = refused(capsys, "train", toy / "toy.py", "--workdir", "gs://nowhere/run")
    assert f"gs://nowhere/run: the bucket is not mounted at {tmp_path / 'nowhere'}" in said


# ---- The server's files


def parsed(words: list[str]) -> Any:
    return parser.parse(words, [serve.add])[0]


def test_the_image_the_unit_and_the_deployments_start_the_server_as_it_is():
    lines = dict(line.split(" ", 1) for line in (LAUNCH / "serve.Dockerfile").read_text().splitlines() if " " in line)
    options = parsed([*json.loads(lines["ENTRYPOINT"])[1:], *json.loads(lines["CMD"])])
    assert (options.host, options.workdir, lines["USER"], int(lines["EXPOSE"])) == (
        "0.0.0.0",
        ["/model"],
        "nobody",
        options.port,
    )
    unit = configparser.RawConfigParser(strict=False)
    unit.read(LAUNCH / "serve.service")
    start = parsed(shlex.split(unit["Service"]["ExecStart"])[1:])
    assert start.host == "127.0.0.1" and int(unit["Service"]["TimeoutStopSec"]) > start.timeout

    (service,) = yaml.safe_load((LAUNCH / "serve.compose.yaml").read_text())["services"].values()
    assert service["read_only"] and service["ports"] == [f"127.0.0.1:{options.port}:{options.port}"]
    assert service["volumes"][0].endswith(":/model:ro") and (LAUNCH / ".." / service["build"]["dockerfile"]).is_file()
    assert int(service["stop_grace_period"].removesuffix("s")) > options.timeout

    deployment, _ = yaml.safe_load_all((LAUNCH / "serve.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["terminationGracePeriodSeconds"] > options.timeout
    assert container["ports"][0]["containerPort"] == options.port
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "http"}
    assert container["livenessProbe"]["httpGet"] == {"path": "/health", "port": "http"}
    assert {one["mountPath"] for one in container["volumeMounts"]} == {"/model", "/cache", "/tmp"}
