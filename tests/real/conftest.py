"""Real pretrained models, which `make models` brings; without them these tests are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

MODELS = Path(__file__).resolve().parents[2] / "models"


def folder_of(name: str) -> Path:
    """A model's folder; without it the test is skipped."""
    if not (MODELS / name / "model.safetensors").is_file():
        pytest.skip(f"models/{name} is not there: run `make models`")
    return MODELS / name


@pytest.fixture(scope="session")
def smollm2() -> Path:
    return folder_of("smollm2")


@pytest.fixture(scope="session")
def minilm() -> Path:
    return folder_of("minilm")
