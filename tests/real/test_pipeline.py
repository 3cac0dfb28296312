"""Every stage with real models: the presets that `make models` serves, at tiny sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from tests.presets import rows
from tests.real.conftest import folder_of
from tests.stages.pipeline import Tiny
from tests.tiny import merged
from westofn.exporting.reward_model import export_reward_model
from westofn.models.policy import load_policy
from westofn.models.saved_reward import load_reward_model
from westofn.models.scoring import score_rows
from westofn.presets.apply import write_preset
from westofn.presets.catalogue import preset_named

pytestmark = pytest.mark.models
# Steps enough that the policy answers as the demonstrations do, in few words that end: a response
# that the limit cuts forms no pair. They must differ too, hence the temperature.
TINY: dict[str, Any] = {
    "prepare": {"files": {"max_test_prompts": 2}},
    "sft": {
        "max_response_tokens": 8,
        "steps": 12,
        "batch_size": 4,
        "learning_rate": 1e-3,
        "evaluations": 1,
    },
    "reward": {"steps": 2, "batch_size": 2, "evaluations": 1, "average_decay": 0.0},
    "sample": {"n_candidates": 2, "temperature": 1.5},
    "rlhf": {"steps": 1, "batch_size": 4, "samples_per_prompt": 2, "minibatches": 1},
}
PPO = {
    "rlhf": {"algorithm": "ppo", "steps": 2, "value_warmup_steps": 1, "evaluations": 2},
    "student_rm": {"learner": "network", "lora": {"rank": 8}},
}


@pytest.mark.parametrize(
    ("preset", "changes"),
    [("hh-smollm2", {}), ("hh-smollm2", PPO), ("hh-minilm", {})],
    ids=["smollm2", "smollm2-ppo", "minilm-rloo"],
)
def test_a_preset_runs_with_its_real_models(
    preset: str, changes: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = Tiny.make(tmp_path / "root")
    write_preset(preset_named(preset), tiny / "params.yaml", force=True)
    rows.hh(tiny / "raw/hh")
    (tiny / "models").mkdir()
    for name in ("smollm2", "minilm"):
        (tiny / "models" / name).symlink_to(folder_of(name))
    tiny.change(merged(TINY, changes))
    tiny.succeed(*tiny.stages)

    monkeypatch.chdir(tiny.root)
    metrics = json.loads(Path("metrics.json").read_text("utf-8"))
    assert {"hf50", "hf100", "k1"} <= metrics.keys()
    assert load_policy(Path("data/loop/k1/policy")).model.dtype == torch.float32
    export_reward_model(Path("exports/student"), model=Path("data/loop/k1/rm"))
    scorer = load_reward_model(Path("data/loop/k1/rm"))
    prompts = ["\n\nHuman: How are you?\n\nAssistant:", "\n\nHuman: Name a fruit.\n\nAssistant:"]
    responses = ["I am well, thank you.", "An apple."]
    assert exported_rewards(prompts, responses) == pytest.approx(
        score_rows(scorer, prompts, responses)[:, 0].tolist(), abs=1e-4
    )


def exported_rewards(prompts: list[str], responses: list[str]) -> list[float]:
    """Rewards of the exported classifier, by transformers alone."""
    model = AutoModelForSequenceClassification.from_pretrained("exports/student").eval()
    tokenizer = AutoTokenizer.from_pretrained("exports/student")
    if tokenizer.chat_template:
        asked = [prompt.removeprefix("\n\nHuman: ")[: -len("\n\nAssistant:")] for prompt in prompts]
        prompts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
            )
            for text in asked
        ]
    elif tokenizer.sep_token is None:  # a causal model reads one text, parted by a space
        responses = [f" {response}" for response in responses]
    with torch.inference_mode():
        read = tokenizer(prompts, responses, padding=True, return_tensors="pt")
        rewards: list[float] = model(**read).logits[:, 0].tolist()
    return rewards
