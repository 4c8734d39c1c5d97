#!/usr/bin/env bash
# A run on a Cloud TPU VM slice, from nothing to its checkpoints. Set the variables in the environment or here:
#
#   export NAME=wmt ZONE=us-west4-a TYPE=v5litepod-16 WORKDIR=gs://BUCKET/runs/base
#   launch/tpu_vm.sh create      requests the slice (spot; SPOT= for on demand) and waits until it is ready
#   launch/tpu_vm.sh preflight   installs JAX on all workers and checks that they see every chip of the slice
#   launch/tpu_vm.sh install     copies this checkout to all workers, installs it, mounts the buckets at /gcs
#   launch/tpu_vm.sh run wmt14_en_de_base --mesh.fsdp 4      prepares the data once, then trains on all workers
#   launch/tpu_vm.sh logs        follows the log of worker 0
#   launch/tpu_vm.sh stop        SIGTERM to all workers: they save a checkpoint and end
#   launch/tpu_vm.sh watch wmt14_en_de_base --mesh.fsdp 4    waits for the end; after a preemption does `resume`;
#                                after `stop` or `delete` it ends
#   launch/tpu_vm.sh resume wmt14_en_de_base --mesh.fsdp 4   deletes what is left, then all of the above up to `run`
#   launch/tpu_vm.sh fetch       copies the work folder here, into $OUT
#   launch/tpu_vm.sh delete      gives the slice back, which ends its cost
#
# With DRY_RUN=1 every command is printed and none is run. gcloud has to be installed and logged in.
# shellcheck disable=SC2088  # a tilde in quotes is for the workers' shells
set -euo pipefail
# shellcheck source=launch/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=${NAME:-wmt-transformer}
ZONE=${ZONE:-us-west4-a}
TYPE=${TYPE:-v5litepod-16}
WORKDIR=${WORKDIR:-}
SPOT=${SPOT---spot}
OUT=${OUT:-runs/$NAME}
SOURCE=${SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
POLL=${POLL:-30} # seconds between two looks at a slice

# The uv that is installed on the workers, whose Python may be older than 3.11: its version and the SHA-256 of its wheel
# for x86-64 on PyPI, which pip checks. Change both together.
UV=0.13.9
UV_SHA256=d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19

# The software version that Google names for each generation, and the number of devices that JAX shows: one a chip,
# except on v2 and v3, where each of a chip's two cores is a device. Names of v4 and v5p count cores, two a chip.
size=${TYPE##*-}
case $TYPE in
  v2-* | v3-*) VERSION=${VERSION:-tpu-ubuntu2204-base} DEVICES=$size ;;
  v4-*) VERSION=${VERSION:-tpu-ubuntu2204-base} DEVICES=$((size / 2)) ;;
  v5p-*) VERSION=${VERSION:-v2-alpha-tpuv5} DEVICES=$((size / 2)) ;;
  v5litepod-*) VERSION=${VERSION:-v2-alpha-tpuv5-lite} DEVICES=$size ;;
  v6e-*) VERSION=${VERSION:-v2-alpha-tpuv6e} DEVICES=$size ;;
  *) fail "TYPE=$TYPE is not known; there are v2-, v3-, v4-, v5p-, v5litepod- and v6e-, such as v5litepod-16" ;;
esac

# Runs a command on one worker or on all of them.
on() { run gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker="$1" --command="$2"; }

# Prints the state of the request for the slice: NONE where there is none, UNKNOWN where gcloud could not ask.
state() {
  local said
  if [[ -n ${DRY_RUN:-} ]]; then
    echo ACTIVE
  elif said=$(gcloud compute tpus queued-resources describe "$NAME" --zone="$ZONE" --format='value(state.state)' 2>&1); then
    echo "${said##*$'\n'}" # notes of gcloud may come first
  elif [[ $said == *NOT_FOUND* ]]; then
    echo NONE
  else
    echo "$said" >&2
    echo UNKNOWN
  fi
}

create() {
  local words=(gcloud compute tpus queued-resources create "$NAME" --node-id="$NAME" --zone="$ZONE")
  words+=(--accelerator-type="$TYPE" --runtime-version="$VERSION")
  [[ -z $SPOT ]] || words+=("$SPOT")
  run "${words[@]}"
  local now
  until now=$(state) && [[ $now == ACTIVE ]]; do
    case $now in FAILED | SUSPENDED) fail "the request ended as $now; '${0##*/} delete' it and try another zone" ;; esac
    echo "$NAME: $now" >&2
    sleep "$POLL"
  done
}

preflight() {
  on all "echo uv==$UV --hash=sha256:$UV_SHA256 > ~/uv.txt && python3 -m pip install --user --require-hashes --only-binary :all: -r ~/uv.txt && ~/.local/bin/uv venv --allow-existing --python 3.12 ~/venv && ~/.local/bin/uv pip install --python ~/venv 'jax[tpu]>=0.10,<0.13'"
  on all "~/venv/bin/python -c 'import jax; jax.distributed.initialize(); n = jax.device_count(); print(jax.process_index(), \"of\", jax.process_count(), \"sees\", n, \"devices\", flush=True); assert n == $DEVICES, \"expected $DEVICES\"'"
}

install() {
  # A name that nobody else on this machine can know before.
  if [[ -n ${DRY_RUN:-} ]]; then
    archive=ARCHIVE
  elif [[ -z ${archive:-} ]]; then
    archive=$(mktemp)
    trap 'rm -f "$archive"' EXIT
  fi
  run tar --exclude=./.git --exclude=./.venv --exclude=./runs -czf "$archive" -C "$SOURCE" .
  run gcloud compute tpus tpu-vm scp "$archive" "$NAME:wmt_transformer.tar.gz" --zone="$ZONE" --worker=all
  on all "mkdir -p ~/wmt_transformer && tar -xzf ~/wmt_transformer.tar.gz -C ~/wmt_transformer && cd ~/wmt_transformer && ~/.local/bin/uv pip install --python ~/venv -e '.[tpu]'"
  on all "$MOUNT"
}

# Mounts every bucket that the slice's service account may read, as /gcs/BUCKET, where the program looks for gs://BUCKET.
# shellcheck disable=SC2016  # what is in it is for the workers' shells
MOUNT='command -v gcsfuse >/dev/null || {
  echo "deb [signed-by=/usr/share/keyrings/cloud.google.asc] https://packages.cloud.google.com/apt gcsfuse-$(lsb_release -c -s) main" | sudo tee /etc/apt/sources.list.d/gcsfuse.list
  curl -fsSL https://packages.cloud.google.com/apt/doc/apt-key.gpg | sudo tee /usr/share/keyrings/cloud.google.asc >/dev/null
  sudo apt-get update && sudo apt-get install -y gcsfuse
}
sudo mkdir -p /gcs && sudo chown "$USER" /gcs
mountpoint -q /gcs || gcsfuse --implicit-dirs --metadata-cache-ttl-secs=0 /gcs'

train() {
  [[ $# -gt 0 ]] || fail "give the config's name: run wmt14_en_de_base [--section.field value …]"
  case $WORKDIR in
    gs://* | /*) ;;
    *) fail "WORKDIR=$WORKDIR: all workers have to see it; give gs://BUCKET/FOLDER, or a folder that all of them mount" ;;
  esac
  local command program
  command="$(quoted "$@")--workdir $(quoted "$WORKDIR")"
  # Once, on one worker: the others would wait for it with their chips idle.
  on 0 "~/venv/bin/wmt-transformer prepare $command"
  program="~/venv/bin/wmt-transformer train $command--cluster & echo \$! > ~/train.pid; wait \$!; echo \$? > ~/train.code"
  on all "rm -f ~/train.code ~/train.stopped; nohup bash -c $(quoted "$program")> ~/train.log 2>&1 < /dev/null &"
}

resume() {
  delete
  create
  preflight
  install
  train "$@"
}

# Ends when the run has ended, by itself or by `stop`, and when the slice was deleted; a slice that was preempted is
# made again. A worker that does not answer tells nothing, and neither does a gcloud that fails: both are asked again.
watch() {
  local said code stopped now
  while true; do
    said=$(on 0 'cat ~/train.code 2>/dev/null; ls ~/train.stopped 2>/dev/null' || true)
    if [[ -n ${DRY_RUN:-} ]]; then
      echo "$said"
      resume "$@"
      return
    fi
    code=${said%%$'\n'*} stopped=
    [[ $said != *train.stopped* ]] || stopped=yes
    now=$(state)
    case $now in
      NONE | DELETING) fail "$NAME was deleted; 'resume' makes it again" ;;
      SUSPENDING | SUSPENDED | FAILED) resume "$@" ;;
      ACTIVE)
        if [[ $code == 0 ]]; then
          return
        elif [[ $code == 143 && -n $stopped ]]; then
          echo "$NAME: the run was stopped and has saved a checkpoint; 'run' goes on with it" >&2
          return
        elif [[ $code == 143 ]]; then
          resume "$@"
        elif [[ $code =~ ^[0-9]+$ ]]; then
          fail "the run ended with code $code; see '${0##*/} logs'"
        fi
        ;;
    esac
    sleep "$POLL"
  done
}

fetch() {
  run mkdir -p "$OUT"
  case $WORKDIR in
    gs://*) run gcloud storage rsync --recursive "$WORKDIR" "$OUT" ;;
    *) run gcloud compute tpus tpu-vm scp --recurse "$NAME:$WORKDIR" "$OUT" --zone="$ZONE" --worker=0 ;;
  esac
}

delete() {
  if [[ $(state) != NONE ]]; then
    run gcloud compute tpus queued-resources delete "$NAME" --zone="$ZONE" --force --quiet
  fi
}

verb=${1:-}
shift || true
case $verb in
  create | preflight | install | fetch | delete) "$verb" ;;
  resume | watch) "$verb" "$@" ;;
  run) train "$@" ;;
  logs) on 0 "tail -n 50 -f ~/train.log" ;;
  stop) on all "touch ~/train.stopped && kill -TERM \$(cat ~/train.pid)" ;; # the mark first: `watch` may read it at once
  *) fail "expected create, preflight, install, run, logs, stop, watch, resume, fetch or delete, got '$verb'" ;;
esac
