"""Samples of vLLM as a table, by an engine that answers by a script; tests/optional has vLLM."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from tests.generation.test_file import FRAME
from tests.small_families import tiny_model
from tests.small_models import PROMPTS, RESPONSES
from westofn.artifacts.candidates import CANDIDATES
from westofn.errors import ModelError
from westofn.generation import vllm
from westofn.generation.hf import never_drawn
from westofn.generation.sample_pools import Draw
from westofn.generation.vllm import VllmSampler
from westofn.models.policy import Policy, SavedPolicy, load_policy, log_likelihood, save_policy
from westofn.runtime import Runtime
from westofn.text.encoding import Encoder

LIMIT = 8
CANARIES = list(zip(PROMPTS[:2], RESPONSES[:2], strict=True))
DRAW = Draw(3, 0.7, seed=5)


@pytest.fixture
def saved(spelling: PreTrainedTokenizerFast, tmp_path: Path) -> SavedPolicy:
    encoder = Encoder(spelling, 24, LIMIT, "causal")
    save_policy(Policy(tiny_model("llama", encoder), encoder), tmp_path / "policy", CANARIES, {})
    return SavedPolicy.of(tmp_path / "policy")


def answering(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[Mapping[str, Any]], Any]
) -> list[Any]:
    """Put an engine in the place of vLLM's; returns what it gets."""
    got: list[Any] = []

    class Scripted:
        def __init__(self, *arguments: Any) -> None:
            got.append(arguments)

        def __enter__(self) -> SimpleNamespace:
            return SimpleNamespace(ask=lambda request: got.append(request) or answer(request))

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(vllm, "Engine", Scripted)
    return got


def test_ids_become_texts_and_the_token_beyond_the_limit_is_left_out(
    saved: SavedPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    end = saved.encoder.eos_id
    full, short = saved.encoder.responses(["cat " * 2 + "sat", "bad dog"])
    full = (full[:-1] * LIMIT)[:LIMIT]
    pool = [[short, "stop"], [[*full, end], "stop"], [[*full, 7], "length"]]
    got = answering(monkeypatch, lambda request: [pool] * len(request["prompts"]))
    folder = tmp_path / "shards"
    folder.mkdir()
    sampler = VllmSampler(saved, DRAW, Runtime(vllm_python="python"))
    frame = pl.concat(map(CANDIDATES.read, sampler.shards(FRAME, folder, "sample")))

    arguments, request = got
    assert arguments[:3] == (saved.folder, "float32", 24 + LIMIT + 1)
    policy = load_policy(saved.folder)
    by_name = FRAME.sort("prompt_id")
    assert request["prompts"] == saved.encoder.prompts(by_name["prompt"].to_list())
    assert len(set(request["seeds"])) == FRAME.height
    assert (request["n"], request["temperature"], request["max_tokens"]) == (3, 0.7, LIMIT + 1)
    assert (request["end"], request["never"]) == (end, never_drawn(policy))

    CANDIDATES.validate(frame, "candidates")
    long = saved.encoder.decode([full])[0]
    assert frame["response"].to_list() == ["bad dog", long, long] * FRAME.height
    assert frame["finish_reason"].to_list() == ["stop", "stop", "length"] * FRAME.height
    prompts = [prompt for prompt in by_name["prompt"] for _ in range(3)]
    cut = range(2, frame.height, 3)
    expected = log_likelihood(policy, prompts, frame["response"].to_list(), cut=cut)
    torch.testing.assert_close(torch.tensor(frame["logprob"].to_list()), expected.logprob)


def test_the_seed_of_a_prompt_does_not_depend_on_others(
    saved: SavedPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = saved.encoder.responses(["good"])[0]
    got = answering(monkeypatch, lambda request: [[[ids, "stop"]] * 3 for _ in request["prompts"]])
    for size, name in ((64, "all"), (1, "each")):
        monkeypatch.setattr(vllm, "prompts_a_shard", lambda *_, size=size: size)
        (tmp_path / name).mkdir()
        VllmSampler(saved, DRAW, Runtime()).shards(FRAME, tmp_path / name, "sample")
    requests = [request for request in got if isinstance(request, dict)]
    assert len(requests) == 1 + FRAME.height
    assert requests[0]["seeds"] == [seed for one in requests[1:] for seed in one["seeds"]]


def test_a_t5_is_refused(small_policy: Policy, tmp_path: Path) -> None:
    save_policy(small_policy, tmp_path / "policy", CANARIES, {})
    sampler = VllmSampler(SavedPolicy.of(tmp_path / "policy"), DRAW, Runtime())
    with pytest.raises(ModelError, match=r"sample.engine is vllm, .* family is encoder_decoder; s"):
        sampler.shards(FRAME, tmp_path, "sample")
