"""The judge that params.yaml and this machine's settings name."""

from __future__ import annotations

from functools import partial

import torch

from westofn.errors import ParameterError
from westofn.judging.llm import LlmJudge, name_of
from westofn.judging.protocol import PreferenceJudge
from westofn.judging.question import TEMPLATE
from westofn.judging.shards import SavedJudge
from westofn.judging.simulated import Rewards, SimulatedJudge
from westofn.params.judge import JudgeParams, PromptedJudgeParams, SimulatedJudgeParams
from westofn.runtime import Runtime, load_runtime, set_up_torch
from westofn.servers.role import JUDGE


def judge_of_shards(
    params: JudgeParams, gold_rewards: Rewards | None = None, *, seed: int = 0
) -> PreferenceJudge | SavedJudge:
    """The judge of `params.kind`; a model is loaded later, by the processes that ask it.

    Args:
        params: The section.
        gold_rewards: See `build_judge`, which also says what is raised.
        seed: See `build_judge`.
    """
    if params.kind == "llm":
        return SavedJudge(name_of(params.prompted.model), partial(_on_this_machine, params))
    return build_judge(params, gold_rewards, seed=seed)


def _on_this_machine(params: JudgeParams) -> PreferenceJudge:
    return build_judge(params, device=set_up_torch())


def build_judge(
    params: JudgeParams,
    gold_rewards: Rewards | None = None,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    runtime: Runtime | None = None,
) -> PreferenceJudge:
    """Make the judge of `params.kind`.

    Args:
        params: The section.
        gold_rewards: (prompt_ids, responses) -> (n,) rewards; only `simulated` asks, and needs it.
        seed: Seeds the noise of `simulated`; `llm` and `openai` are not random.
        device: Where `llm` runs.
        runtime: The settings of this machine; None: read them.

    Raises:
        ParameterError: `simulated` without gold rewards, or the server's address is none.
        ModelError: The model cannot be loaded.
    """
    if params.kind == "simulated":
        return _simulated(params.simulated, gold_rewards, seed)
    if params.kind == "openai":
        return _openai(params.prompted, runtime or load_runtime())
    first, second = (f" {answer.strip()}" for answer in params.prompted.answers)
    return LlmJudge.load(
        params.prompted.model,
        params.prompted.max_tokens,
        _template(params.prompted),
        (first, second),
        device,
    )


def _simulated(params: SimulatedJudgeParams, rewards: Rewards | None, seed: int) -> SimulatedJudge:
    if rewards is None:
        raise ParameterError(
            "study.judge.kind is simulated, which needs the embedded world's gold rewards; set "
            "prepare.source to world, or study.judge.kind to llm or openai"
        )
    return SimulatedJudge(
        rewards,
        temperature=params.temperature,
        noise=params.noise,
        position_bias=params.position_bias,
        length_bias=params.length_bias,
        seed=seed,
    )


def _openai(params: PromptedJudgeParams, runtime: Runtime) -> PreferenceJudge:
    # Here, since the client takes a second to import.
    from westofn.judging.openai import OpenAiJudge
    from westofn.servers.client import Server

    server = Server.of_settings(
        JUDGE,
        runtime.judge_url,
        runtime.judge_key_variable,
        runtime.judge_workers,
        runtime.judge_timeout,
    )
    return OpenAiJudge(
        server,
        params.model,
        _template(params),
        params.answers,
        params.max_answer_tokens,
        params.max_unparsed,
    )


def _template(params: PromptedJudgeParams) -> str:
    return TEMPLATE if params.template == "default" else params.template
