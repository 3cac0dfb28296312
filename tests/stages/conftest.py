"""The tiny repository: made once, copied for every test that changes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stages.pipeline import Tiny

# Smaller than elsewhere: here nothing is learned, files are made.
SMALL = {
    "prepare": {"world": {"sft_examples": 120}},
    "sft": {"steps": 4},
    "reward": {"steps": 2, "warmup_fraction": 0.0},
    "rlhf": {"steps": 2},
}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """After every stage; tests read it only."""
    tiny = Tiny.make(tmp_path_factory.mktemp("made") / "root", SMALL)
    tiny.succeed(*tiny.stages)
    return tiny


@pytest.fixture
def tiny(made: Tiny, tmp_path: Path) -> Tiny:
    """A copy of one's own."""
    return made.copy(tmp_path / "root")
