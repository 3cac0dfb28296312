"""The judge that parameters and machine name, with exactly their settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from transformers import PreTrainedTokenizerFast

from tests.judging.stub_server import said, serve
from tests.judging.test_llm import tiny
from westofn.errors import ParameterError
from westofn.judging.build import build_judge, judge_of_shards
from westofn.judging.llm import LlmJudge
from westofn.judging.openai import OpenAiJudge
from westofn.judging.protocol import FloatArray
from westofn.judging.question import TEMPLATE
from westofn.judging.shards import SavedJudge
from westofn.judging.simulated import SimulatedJudge
from westofn.params.judge import JudgeParams
from westofn.runtime import Runtime
from westofn.text.tokenizer import save_tokenizer

PROMPTED: dict[str, Any] = {
    "model": "m1",
    "template": "default",
    "first_answer": "A",
    "second_answer": "B",
    "max_tokens": 200,
    "max_answer_tokens": 3,
    "max_unparsed": 0.25,
}
SIMULATED: dict[str, Any] = {
    "temperature": 2.0,
    "noise": 0.5,
    "position_bias": 0.25,
    "length_bias": 0.125,
}


def params(kind: str, **changes: Any) -> JudgeParams:
    return JudgeParams.model_validate(
        {
            "kind": kind,
            "prompted": {name: changes.get(name, value) for name, value in PROMPTED.items()},
            "simulated": {name: changes.get(name, value) for name, value in SIMULATED.items()},
        }
    )


def rewards(prompt_ids: Sequence[str], responses: Sequence[str]) -> FloatArray:
    return np.array([float(text) for text in responses])


def test_simulated_takes_every_constant_and_the_seed() -> None:
    judge = build_judge(params("simulated"), rewards, seed=7)
    assert judge == SimulatedJudge(rewards, 2.0, 0.5, 0.25, 0.125, 7)


def test_simulated_without_gold_rewards_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"needs the embedded world's gold rewards; set"):
        build_judge(params("simulated"))


def test_openai_takes_its_parameters_and_the_machine_s_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MY_KEY", " sk-1\n")
    judge = build_judge(
        params("openai", template="{prompt}{first}{second}"),
        runtime=Runtime(
            judge_url="http://host/v1",
            judge_key_variable="MY_KEY",
            judge_workers=3,
            judge_timeout=9,
        ),
    )
    assert isinstance(judge, OpenAiJudge)
    assert (judge.server.url, judge.server.key) == ("http://host/v1", "sk-1")
    assert (judge.server.workers, judge.server.timeout) == (3, 9)
    assert judge.server.key_variable == "MY_KEY"
    assert (judge.model, judge.answers, judge.template) == (
        "m1",
        ("A", "B"),
        "{prompt}{first}{second}",
    )
    assert (judge.max_answer_tokens, judge.max_unparsed) == (3, 0.25)


def test_openai_s_settings_have_defaults_but_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    judge = build_judge(params("openai"), runtime=Runtime(judge_url="http://host/v1"))
    assert isinstance(judge, OpenAiJudge)
    assert (judge.server.key, judge.server.key_variable) == ("", "OPENAI_API_KEY")
    assert (judge.server.workers, judge.server.timeout) == (8, 60)
    assert judge.template == TEMPLATE
    with pytest.raises(ParameterError, match="set WESTOFN_JUDGE_URL, or judge_url in runtime"):
        build_judge(params("openai"), runtime=Runtime())


def test_the_environment_is_read_where_no_settings_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve(lambda number, body: said("B")) as stub:
        monkeypatch.setenv("WESTOFN_JUDGE_URL", stub.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-2")
        judge = build_judge(params("openai"))
        assert judge.p_first(["p"], ["x"], ["a"], ["b"]).tolist() == [0.0]
        assert stub.keys == ["Bearer sk-2"]


def test_llm_is_loaded_and_its_answers_follow_a_space(
    spelling: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    tiny("qwen2", len(spelling)).save_pretrained(tmp_path)
    save_tokenizer(spelling, tmp_path)
    judge = build_judge(params("llm", model=str(tmp_path), template="{prompt}{first}{second}"))
    assert isinstance(judge, LlmJudge)
    assert judge.answers == (" A", " B")
    assert (judge.max_tokens, judge.template) == (200, "{prompt}{first}{second}")
    assert 0 < judge.p_first(["p"], ["x"], ["a"], ["b"])[0] < 1
    saved = judge_of_shards(params("llm", model=str(tmp_path), template="{prompt}{first}{second}"))
    assert isinstance(saved, SavedJudge)
    loaded = saved.load()
    assert saved.name == loaded.name == judge.name == f"llm:{tmp_path}"
    pair = ["p"], ["x"], ["a"], ["b"]
    assert loaded.p_first(*pair) == judge.p_first(*pair)


def test_shards_take_other_judges_as_they_are() -> None:
    simulated = judge_of_shards(params("simulated"), rewards, seed=7)
    assert simulated == build_judge(params("simulated"), rewards, seed=7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"template": "{prompt} {first}"}, r"template has no \{second\}"),
        ({"second_answer": " A"}, "cannot be told apart"),
        ({"temperature": 0.0}, "greater than 0"),
        ({"noise": -0.5}, "greater than or equal to 0"),
        ({"max_unparsed": 1.0}, "less than 1"),
        ({"max_tokens": 8}, "greater than or equal to 16"),
        ({"model": ""}, "at least 1 character"),
    ],
)
def test_parameters_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        params("llm", **changes)


def test_parameters_are_strict_and_frozen() -> None:
    with pytest.raises(ValidationError, match="kind"):
        params("oracle")
    with pytest.raises(ValidationError, match="extra_forbidden"):
        JudgeParams.model_validate({**params("llm").model_dump(), "url": "http://host"})
    with pytest.raises(ValidationError, match="frozen"):
        params("llm").kind = "openai"  # type: ignore[misc]
