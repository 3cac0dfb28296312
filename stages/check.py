"""Stage 0, `check`: params.yaml -> a constant, so that a wrong value fails in seconds.

reads   params.yaml (all of it); of models that it names, what shows that ppo cannot use them
writes  data/check/ok

The output never changes, so checking again after a change invalidates nothing downstream.
"""

from __future__ import annotations

from stages.common import Out, run
from westofn.artifacts.atomic import write_bytes
from westofn.params.whole import load_params
from westofn.runtime import load_runtime


def main(out: Out) -> None:
    """Validate every parameter and the runtime settings."""
    params = load_params()
    load_runtime()
    if (params.base_rm.loss, params.student_rm.loss) != ("bradley_terry", "bradley_terry"):
        from westofn.training.losses import require_losses  # it imports torch

        require_losses(params.base_rm, params.student_rm, params.student_rm.learner)
    if params.won_select.selector != "west":
        from westofn.pairing.selectors import selector_of  # it imports torch

        selector_of(params.won_select.selector)
    start = params.reward_start.model
    if start != "policy" and params.rlhf.algorithm == "ppo":  # importing models takes seconds
        from westofn.training.value_start import require_value_start

        require_value_start(start, params.sft.model)
    write_bytes(b"ok\n", out)


if __name__ == "__main__":
    run(main)
