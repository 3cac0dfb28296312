#!/bin/bash
# Runs the pipeline, or the stages that are named, as a Slurm job, and pushes the outputs.
#
#     sbatch --wait deploy/slurm.sh                     # everything that is out of date
#     sbatch --wait deploy/slurm.sh student_rm@k1       # a stage and what it needs
#     sbatch --wait --nodes 2 --gpus-per-node 8 deploy/slurm.sh sft
#
# Submit it from the root of a clone on a file system that all nodes share, with .venv in it.
# Other stages than those that train run on the first node.
#SBATCH --job-name=westofn
#SBATCH --ntasks-per-node=1
#SBATCH --output=runs/slurm-%j.log
set -euo pipefail

cd "${SLURM_SUBMIT_DIR:?start this script by sbatch}"
# shellcheck source=/dev/null
source .venv/bin/activate

nodes=${SLURM_JOB_NUM_NODES:-1}
if ((nodes > 1)); then
    # Without a pipe to head: scontrol would fail by SIGPIPE where head ends first.
    hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
    first=${hosts%%$'\n'*}
    export WESTOFN_NODES=$nodes
    export WESTOFN_RENDEZVOUS=${WESTOFN_RENDEZVOUS:-$first:$((20000 + SLURM_JOB_ID % 20000))}
    export WESTOFN_LAUNCHER="srun --quit-on-interrupt --ntasks-per-node=1"
fi
# One process a GPU; without GPUs what runtime.toml says.
if [[ -n ${SLURM_GPUS_ON_NODE:-} ]]; then
    export WESTOFN_PROCESSES=$SLURM_GPUS_ON_NODE
fi

remote=$(dvc remote list)
if [[ -n $remote ]]; then
    dvc repro --pull --allow-missing "$@"
    dvc push
else
    echo "slurm.sh: DVC has no remote, so the outputs stay in this clone" >&2
    dvc repro "$@"
fi
