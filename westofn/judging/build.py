"""The judge that params.yaml and this machine's settings name."""

from __future__ import annotations

import os

import torch

from westofn.errors import ParameterError
from westofn.judging.address import KEY_VARIABLE
from westofn.judging.llm import LlmJudge
from westofn.judging.protocol import PreferenceJudge
from westofn.judging.question import TEMPLATE
from westofn.judging.simulated import Rewards, SimulatedJudge
from westofn.params.judge import JudgeParams, PromptedJudgeParams, SimulatedJudgeParams
from westofn.runtime import Runtime, load_runtime

WORKERS = 8
TIMEOUT_SECONDS = 60


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
    from westofn.judging.openai import OpenAiJudge, Server

    variable = runtime.judge_key_variable or KEY_VARIABLE
    server = Server(
        runtime.judge_url,
        key=os.environ.get(variable, "").strip(),
        key_variable=variable,
        workers=runtime.judge_workers or WORKERS,
        timeout=runtime.judge_timeout or TIMEOUT_SECONDS,
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
