"""All that can be foreseen, in the order of what is cheapest to look at."""

from __future__ import annotations

from westofn.execution.ray_shards import require_ray
from westofn.execution.vllm_engine import require_vllm
from westofn.params.whole import Params
from westofn.preflight.machine import memory, require_device, require_memory, slow_precision
from westofn.preflight.models import Pretrained, require_models
from westofn.preflight.paths import require_files
from westofn.runtime import Runtime
from westofn.servers.role import JUDGE, SAMPLER, Role, require_address


def foresee(params: Params, runtime: Runtime) -> list[str]:
    """Refuse what a later stage would refuse, and return warnings.

    Raises:
        WestofnError: A device, executor, size, file, model or address cannot be used.
    """
    require_device(runtime)
    if runtime.executor == "ray":
        require_ray()
    if params.sample.engine == "vllm":
        require_vllm(runtime)
    require_memory(params, runtime, memory())
    require_files(params)
    start = require_models(params)
    warnings = [slow_precision(params, runtime), no_export(params, start)]
    if params.study.judge.kind == "openai":
        warnings.append(_no_address(runtime.judge_url, runtime.judge_key_variable, JUDGE))
    if params.sample.engine == "openai":
        warnings.append(_no_address(runtime.sample_url, runtime.sample_key_variable, SAMPLER))
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


def _no_address(url: str, key_variable: str, role: Role) -> str | None:
    if not url:
        choice = "sample.engine" if role is SAMPLER else "study.judge.kind"
        reader = "the stage sample" if role is SAMPLER else "the study"
        return (
            f"{choice} is openai, and no address is set; set {role.url_variable}, or "
            f"{role.url_key} in runtime.toml, before {reader} runs"
        )
    require_address(url, key_variable, role)
    return None
