"""The saved policy from which reward models of several test modules start, and a hasty clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.small_models import tiny_policy
from westofn.execution import pace
from westofn.models.policy import save_policy
from westofn.text.encoding import Encoder


@pytest.fixture(scope="module")
def policy(small_encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy") / "policy"
    save_policy(tiny_policy(small_encoder, seed=4), folder, [("the cat", "so")], {})
    return folder


@pytest.fixture
def save_at_every_step(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the clock say after every step that the last checkpoint is too long ago."""

    def begin() -> None:
        monkeypatch.setattr(pace, "MINUTES", 0)
        monkeypatch.setattr(pace, "WRITING_SHARE", 0)

    return begin
