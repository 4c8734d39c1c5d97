#!/usr/bin/env bash
# One run on a TPU slice of a GKE cluster that xpk (pip install xpk) made or knows; gke_jobset.yaml does it without.
#
#   export PROJECT=… ZONE=us-west4-a CLUSTER=… TYPE=v5litepod-16 BUCKET=… IMAGE=REGION-docker.pkg.dev/…/wmt-transformer
#   launch/gke_xpk.sh attach     makes gs://$BUCKET the folder /gcs/$BUCKET in every workload of the cluster, once
#   launch/gke_xpk.sh run wmt14_en_de_base --workdir gs://$BUCKET/runs/base [--mesh.fsdp 4 …]
#                                prepares the data in a pod without chips, then trains
#   launch/gke_xpk.sh list       shows what runs
#   launch/gke_xpk.sh delete     stops the run; its checkpoints stay in the bucket, and `run` goes on from them
#
# A preempted slice is started again up to $RESTARTS times. kubectl has to know the cluster (gcloud container clusters
# get-credentials), and $ACCOUNT is a Kubernetes service account that may write to the bucket; xpk makes xpk-sa. With
# DRY_RUN=1 every command is printed and none is run.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NAME=${NAME:-wmt-transformer}
TYPE=${TYPE:-v5litepod-16}
SLICES=${SLICES:-1}
RESTARTS=${RESTARTS:-100}
ACCOUNT=${ACCOUNT:-xpk-sa}
verb=${1:-}
shift || true
for variable in PROJECT ZONE CLUSTER; do
  [[ -n ${!variable:-} ]] || fail "set $variable"
done
place=(--cluster="$CLUSTER" --project="$PROJECT" --zone="$ZONE")

# Prepares the data in a pod of its own, where no chip waits for it; the bucket is /gcs/$BUCKET there too.
prepare() {
  local pod=$NAME-prepare volume
  volume='{"name": "bucket", "csi": {"driver": "gcsfuse.csi.storage.gke.io", "volumeAttributes": {"bucketName": "'$BUCKET'", "mountOptions": "implicit-dirs"}}}'
  run kubectl run "$pod" --image="$IMAGE" --restart=Never --attach --rm --pod-running-timeout=10m \
    --annotations=gke-gcsfuse/volumes=true --override-type=strategic \
    --overrides='{"spec": {"serviceAccountName": "'"$ACCOUNT"'", "containers": [{"name": "'"$pod"'", "volumeMounts": [{"name": "bucket", "mountPath": "/gcs/'"$BUCKET"'"}]}], "volumes": ['"$volume"']}}' \
    -- prepare "$@"
}

case $verb in
  attach)
    run xpk storage attach "${BUCKET:?set BUCKET}" "${place[@]}" --type=gcsfuse --bucket="$BUCKET" \
      --mount-point="/gcs/$BUCKET" --readonly=false --size=1 --auto-mount=true
    ;;
  run)
    [[ $# -gt 0 ]] || fail "give the config's name: run wmt14_en_de_base --workdir gs://BUCKET/runs/base"
    : "${IMAGE:?set IMAGE}" "${BUCKET:?set BUCKET}"
    prepare "$@"
    run xpk workload create --workload="$NAME" "${place[@]}" --tpu-type="$TYPE" --num-slices="$SLICES" \
      --max-restarts="$RESTARTS" --docker-image="$IMAGE" --command="wmt-transformer train $(quoted "$@")--cluster"
    ;;
  list) run xpk workload list "${place[@]}" ;;
  delete) run xpk workload delete --workload="$NAME" "${place[@]}" ;;
  *) fail "expected attach, run, list or delete, got '$verb'" ;;
esac
