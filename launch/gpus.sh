#!/usr/bin/env bash
# One run on all GPUs of this machine. One process drives them all, so there is nothing to set up between them:
#
#   launch/gpus.sh wmt14_en_de_base --workdir runs/base [--mesh.fsdp 2 …]
#   GPUS=0,1 launch/gpus.sh wmt14_en_de_base --workdir runs/base          on these alone
#
# First it checks that JAX sees the GPUs that the driver sees. A run that was stopped by a signal (exit code 143 or
# 130) continues when the same command is given again. DRY_RUN=1 prints the commands and runs none.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ $# -gt 0 ]] || fail "give the config's name: gpus.sh wmt14_en_de_base --workdir runs/base"
BIN=${BIN:-.venv/bin}
[[ -z ${GPUS:-} ]] || export CUDA_VISIBLE_DEVICES=$GPUS

if [[ -n ${GPUS:-} ]]; then
  expected=$(tr , '\n' <<<"$GPUS" | wc -l)
elif [[ -n ${DRY_RUN:-} ]]; then
  expected=8
else
  expected=$(nvidia-smi --list-gpus | wc -l)
fi
expected=$((expected))
run "$BIN/python" -c "import jax; n = sum(d.platform == 'gpu' for d in jax.devices()); assert n == $expected, f'JAX sees {n} of $expected GPUs; install the extra: pip install -e .[cuda], or .[cuda12] for drivers before 580 and a V100'"
run exec "$BIN/wmt-transformer" train "$@"
