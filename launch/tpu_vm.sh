#!/usr/bin/env bash
# A run on a Cloud TPU VM slice, from nothing to its checkpoints. Set the variables in the environment or here:
#
#   export NAME=wmt ZONE=us-west4-a TYPE=v5litepod-16 WORKDIR=gs://BUCKET/runs/base
#   launch/tpu_vm.sh create      asks for the slice (spot; SPOT= for on demand) and waits until it is there
#   launch/tpu_vm.sh preflight   installs JAX on all workers and checks that together they see every chip
#   launch/tpu_vm.sh install     copies this checkout to all workers, installs it, mounts the buckets at /gcs
#   launch/tpu_vm.sh run wmt14_en_de_base --mesh.fsdp 4      prepares the data once, then trains on all workers
#   launch/tpu_vm.sh logs        follows what worker 0 says
#   launch/tpu_vm.sh stop        SIGTERM to all workers: they save a checkpoint and end
#   launch/tpu_vm.sh watch wmt14_en_de_base --mesh.fsdp 4    waits for the end; after a preemption does `resume`
#   launch/tpu_vm.sh resume wmt14_en_de_base --mesh.fsdp 4   deletes what is left, then all of the above up to `run`
#   launch/tpu_vm.sh fetch       copies the work folder here, into $OUT
#   launch/tpu_vm.sh delete      gives the slice back; nothing is charged any more
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

# The software that Google names for each generation, and the devices that JAX shows: a chip each, but for v2 and v3,
# whose two cores are devices of their own. Names of v4 and v5p count cores, two a chip.
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

state() {
  if [[ -n ${DRY_RUN:-} ]]; then
    echo ACTIVE
  else
    gcloud compute tpus queued-resources describe "$NAME" --zone="$ZONE" --format='value(state.state)' 2>/dev/null || echo NONE
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
  # The images' Python may be older than 3.11: uv brings its own.
  on all "curl -LsSf https://astral.sh/uv/install.sh | sh && ~/.local/bin/uv venv --allow-existing --python 3.12 ~/venv && ~/.local/bin/uv pip install --python ~/venv 'jax[tpu]>=0.10,<0.13'"
  on all "~/venv/bin/python -c 'import jax; jax.distributed.initialize(); n = jax.device_count(); print(jax.process_index(), \"of\", jax.process_count(), \"sees\", n, \"devices\", flush=True); assert n == $DEVICES, \"expected $DEVICES\"'"
}

install() {
  local archive=${TMPDIR:-/tmp}/wmt_transformer.tar.gz
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
  local command
  command="$(quoted "$@")--workdir $(quoted "$WORKDIR")"
  # Once, on one worker: the others would wait for it with their chips idle.
  on 0 "~/venv/bin/wmt-transformer prepare $command"
  on all "rm -f ~/train.code; nohup sh -c '~/venv/bin/wmt-transformer train $command--cluster & echo \$! > ~/train.pid; wait \$!; echo \$? > ~/train.code' > ~/train.log 2>&1 < /dev/null &"
}

resume() {
  delete
  create
  preflight
  install
  train "$@"
}

# Ends when the run has ended by itself; a slice that is taken away in the meantime is made again.
watch() {
  local code now
  while true; do
    code=$(on 0 'cat ~/train.code 2>/dev/null' || true)
    if [[ -n ${DRY_RUN:-} ]]; then
      echo "$code"
      resume "$@"
      return
    fi
    now=$(state)
    if [[ $code == 0 ]]; then
      return
    elif [[ $code =~ ^[0-9]+$ && $code != 143 && $now == ACTIVE ]]; then
      fail "the run ended with code $code; see '${0##*/} logs'"
    elif [[ $code == 143 || $now != ACTIVE ]]; then
      resume "$@"
    fi
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
  stop) on all "kill -TERM \$(cat ~/train.pid)" ;;
  *) fail "expected create, preflight, install, run, logs, stop, watch, resume, fetch or delete, got '$verb'" ;;
esac
