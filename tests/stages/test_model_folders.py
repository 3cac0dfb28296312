"""A model folder that parameters name is an input of the work: checkpoints are of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.stages.pipeline import Tiny
from westofn.errors import DataError


@pytest.mark.parametrize("stage", ["sft", "study_baselines"])
def test_its_content_keys_the_scratch_folder(
    stage: str, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tiny / "model").mkdir()
    tiny.change(
        {
            "sft": {"model": "model"},
            "reward_start": {"model": "model"},
            "rlhf": {"algorithm": "rloo"},
        }
    )
    seen: list[Path] = []

    def stop(name: str, settings: object, inputs: Sequence[Path], **_: object) -> None:
        seen.extend(inputs)
        raise DataError("seen enough")

    module = tiny.stage(stage).module
    monkeypatch.setattr(f"{module}.scratch", stop)
    monkeypatch.setattr(f"{module}.require_inputs", lambda inputs: None, raising=False)
    tiny.fail(stage, "seen enough")
    assert Path("model") in seen
    assert len(seen) > 1
