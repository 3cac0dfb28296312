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
    start = params.reward_start.model
    if start != "policy" and params.rlhf.algorithm == "ppo":  # importing models takes seconds
        from westofn.training.value_start import require_value_start

        require_value_start(start, params.sft.model)
    write_bytes(b"ok\n", out)


if __name__ == "__main__":
    run(main)
