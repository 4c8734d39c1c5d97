"""The files of launch/: scripts that parse and that shellcheck finds nothing in, dry runs that print the commands of a
whole life of a run, YAML with what a TPU slice needs, and `gs://` paths. Nothing here needs a cloud."""

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
    assert tpu("stop") == [[*ssh, "--worker=all", "--command=kill -TERM $(cat ~/train.pid)"]]


@pytest.mark.parametrize(
    ("kind", "devices"), [("v5litepod-16", 16), ("v6e-256", 256), ("v5p-16", 8), ("v4-32", 16), ("v3-32", 32)]
)
def test_the_preflight_expects_every_device_of_the_slice_on_all_workers(kind, devices):
    *_, check = tpu("preflight", TYPE=kind)
    assert "--worker=all" in check and f"assert n == {devices}," in remote(check)
    *_, program = shlex.split(remote(check))
    compile(program, "preflight", "exec")


def test_a_run_on_a_slice_prepares_once_and_trains_on_all_workers_with_its_arguments_whole():
    prepare, train = tpu("run", "base", "--data.path", "gs://b/my corpus")
    assert "--worker=0" in prepare and "--worker=all" in train
    words = shlex.split(remote(prepare))
    expected = ["base", "--data.path", "gs://b/my corpus", "--workdir", "gs://b/run"]
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
            "jax[tpu]",
            "device_count",
            "tar --exclude",
            "tpu-vm scp",
        ),
        *("uv pip install", "gcsfuse", "wmt-transformer prepare", "wmt-transformer train"),
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
    options = (LAUNCH / "slurm.sbatch").read_text()
    for option in ("--signal=TERM@120", "--requeue", "--gpus-per-node=8", "--ntasks-per-node=8"):
        assert f"#SBATCH {option}\n" in options


def test_one_machine_checks_its_gpus_and_runs_one_process():
    check, train = dry_run("gpus.sh", "base", "--workdir", "w", GPUS="0,2,5", BIN="bin")
    assert "assert n == 3," in check[-1]
    compile(check[-1], "check", "exec")
    assert train == ["exec", "bin/wmt-transformer", "train", "base", "--workdir", "w"]


def test_xpk_creates_a_workload_that_finds_its_hosts():
    place: dict[str, Any] = {"PROJECT": "p", "ZONE": "z", "CLUSTER": "c", "BUCKET": "b", "IMAGE": "i"}
    ((*words, command),) = dry_run("gke_xpk.sh", "run", "base", "--workdir", "gs://b/run", **place)
    assert words[:3] == ["xpk", "workload", "create"]
    assert {"--cluster=c", "--project=p", "--zone=z", "--tpu-type=v5litepod-16", "--docker-image=i"} <= set(words)
    assert command == "--command=wmt-transformer train base --workdir gs://b/run --cluster"
    ((*words,),) = dry_run("gke_xpk.sh", "attach", **place)
    assert {"--type=gcsfuse", "--bucket=b", "--mount-point=/gcs/b", "--readonly=false"} <= set(words)


def test_the_jobset_asks_for_a_whole_slice_and_starts_all_its_hosts_again_together():
    jobset = yaml.safe_load((LAUNCH / "gke_jobset.yaml").read_text())
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    assert jobset["spec"]["failurePolicy"]["maxRestarts"] > 0
    (job,) = jobset["spec"]["replicatedJobs"]
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
