"""The saved policy from which reward models of several test modules start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.small_models import tiny_policy
from westofn.models.policy import save_policy
from westofn.text.encoding import Encoder


@pytest.fixture(scope="module")
def policy(small_encoder: Encoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy") / "policy"
    save_policy(tiny_policy(small_encoder, seed=4), folder, [("the cat", "so")], {})
    return folder
