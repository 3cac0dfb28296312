"""All that can be foreseen, in the order of what is cheapest to look at."""

from __future__ import annotations

from westofn.params.whole import Params
from westofn.preflight.machine import memory, require_device, require_memory, slow_precision
from westofn.preflight.models import Pretrained, require_models
from westofn.preflight.paths import require_files
from westofn.runtime import Runtime


def foresee(params: Params, runtime: Runtime) -> list[str]:
    """Refuse what a later stage would refuse, and return warnings.

    Raises:
        WestofnError: A device, size, file, model or address cannot be used.
    """
    require_device(runtime)
    require_memory(params, runtime, memory())
    require_files(params)
    start = require_models(params)
    warnings = [slow_precision(params, runtime), no_export(params, start)]
    if params.study.judge.kind == "openai":
        warnings.append(_no_address(runtime))
    return [warning for warning in warnings if warning]


def no_export(params: Params, start: Pretrained | None) -> str | None:
    """Return a warning where `export rm` will refuse the student; None where it will not.

    Args:
        params: All parameters.
        start: The pretrained model in which students start, if this machine knows it.
    """
    from_scratch = (params.sft.model, params.reward_start.model) in (
        ("scratch", "policy"),
        ("scratch", "scratch"),
    )
    keeps_form = start is not None and start.family == "encoder_decoder"
    if from_scratch or keeps_form or params.student_rm.readout == "last":
        return None
    return (
        f"student_rm.readout is {params.student_rm.readout}, and `export rm` makes classifiers "
        "from last alone; for a student to export, set reward.readout to last before training"
    )


def _no_address(runtime: Runtime) -> str | None:
    from westofn.judging.address import require_address

    if not runtime.judge_url:
        return (
            "study.judge.kind is openai, and no address is set; set WESTOFN_JUDGE_URL, or "
            "judge_url in runtime.toml, before the study runs"
        )
    require_address(runtime.judge_url, runtime.judge_key_variable)
    return None
