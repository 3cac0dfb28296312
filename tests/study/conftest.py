"""What a tiny main pipeline leaves: a policy, human pairs, and pools that count good and bad."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.evaluation.planted import (
    TEXTS,
    CountingGold,
    candidate_frame,
    preference_frame,
    prompt_frame,
    text,
)
from tests.small_models import tiny_policy
from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.evaluation.judges import GoldJudge
from westofn.models.policy import save_policy
from westofn.params.whole import Params, load_params
from westofn.study.inputs import StudyInputs
from westofn.text.encoding import Encoder
from westofn.text.tokenizer import train_tokenizer

SMALL = {"steps": 4, "batch_size": 8, "evaluations": 2}


def tiny_params() -> Params:
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    return params.model_copy(
        update={
            "student_rm": params.student_rm.model_copy(update=SMALL),
            "base_rm": params.base_rm.model_copy(update=SMALL),
            "sample": params.sample.model_copy(update={"n_candidates": 3}),
        }
    )


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `data/`, but for the world."""
    root = tmp_path_factory.mktemp("left") / "data"
    tokenizer = train_tokenizer([*TEXTS, *(f" {line}" for line in TEXTS)], "words", 64)
    encoder = Encoder(tokenizer, max_prompt_tokens=8, max_response_tokens=24)
    policy = tiny_policy(encoder, seed=4)
    save_policy(policy, root / "loop/k0/policy", [("a post", "good")], {})
    frames = [
        preference_frame([(f"{name}{i}", "good", text(-1, i)) for i in range(size)], None, split)
        for name, split, size in (("t", "train", 12), ("v", "validation", 6), ("h", "test", 8))
    ]
    PREFERENCES.write(pl.concat(frames), root / "prepared/preferences.parquet")
    unlabeled, test = (f"t{i}" for i in range(8, 12)), (f"q{i}" for i in range(4))
    prompts = [prompt_frame(list(unlabeled), "unlabeled"), prompt_frame(list(test), "test")]
    PROMPTS.write(pl.concat(prompts), root / "prepared/prompts.parquet")
    for name, split in (("loop/k1", prompts[0]), ("eval_pool", prompts[1])):
        pools = {p: [text(1), text(-1, i), text(2, i)] for i, p in enumerate(split["prompt_id"])}
        CANDIDATES.write(candidate_frame(pools), root / name / "candidates.parquet")
    return root


@pytest.fixture
def inputs(data: Path) -> StudyInputs:
    """With a judge who counts good and bad words."""
    found = StudyInputs(tiny_params(), data, "cpu")
    found.__dict__["judge"] = GoldJudge(CountingGold())
    return found
