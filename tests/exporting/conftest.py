"""Outputs to export."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.exporting.run import write_run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_run(tmp_path / "data")
