"""TRL's RLOO is rewarded by an exported model, as docs/out.md says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.optional.conftest import snippet
from westofn.exporting.pairs import export_pairs
from westofn.exporting.reward_model import export_reward_model
from westofn.models.reward import RewardModel, Scorer
from westofn.models.saved_reward import save_reward_model
from westofn.models.scoring import score_rows
from westofn.text.encoding import Encoder
from westofn.text.tokenizer import load_tokenizer

pytest.importorskip("trl", reason="needs TRL: pip install -e '.[trl]'")
pytestmark = pytest.mark.filterwarnings("default")
FEW = (
    'output_dir="trained", max_steps=1, report_to="none", use_cpu=True, bf16=False, '
    "num_generations=2, per_device_train_batch_size=4, max_completion_length=4"
)


@pytest.fixture
def student(causal: Path, data: Path, tmp_path: Path) -> Scorer:
    """A causal reward model, exported beside the pairs as in the page."""
    encoder = Encoder(load_tokenizer(causal), 40, 20, "causal")
    torch.manual_seed(1)
    model = RewardModel(AutoModelForCausalLM.from_pretrained(causal), "pointwise", 0, "last")
    torch.nn.init.normal_(model.head.weight, std=0.7)
    scorer = Scorer(model.eval(), encoder)
    save_reward_model(scorer, tmp_path / "rm", [("sun", "good")], {})
    export_reward_model(tmp_path / "exports" / "student", model=tmp_path / "rm")
    out = tmp_path / "exports" / "k1" / "pairs.jsonl"
    export_pairs(out, data=data, iteration="k1", form="explicit", include="mixed")
    return scorer


def run(changes: dict[str, str], causal: Path, root: Path, patch: pytest.MonkeyPatch) -> Any:
    """The page's block for one step; its names."""
    patch.chdir(root)
    patch.setattr("datasets.config.HF_DATASETS_CACHE", root / "cache")
    fixed = {'"a-causal-model"': repr(str(causal)), 'output_dir="trained"': FEW}
    names: dict[str, Any] = {}
    exec(snippet("RLOOTrainer", fixed | changes), names)
    assert names["trainer"].state.global_step == 1
    return names


def test_the_function_of_the_page_gives_the_pipelines_rewards(
    student: Scorer, causal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = run({}, causal, tmp_path, monkeypatch)
    prompts = ["sun", "the cat sat"]
    expected = score_rows(student, prompts, ["good dog", "bad"])[:, 0].tolist()
    # What a policy generates begins with the space that parts prompt and response.
    assert names["reward"](prompts, [" good dog", " bad"]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.usefixtures("student")
def test_the_folder_alone_is_a_reward_too(
    causal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = run(
        {"reward_funcs=reward": 'reward_funcs="exports/student"'}, causal, tmp_path, monkeypatch
    )
    (logged,) = [row for row in names["trainer"].state.log_history if "reward" in row]
    assert math.isfinite(logged["reward"])
    assert logged["reward_std"] > 0
