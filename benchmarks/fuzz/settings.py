"""Readers of settings and of replies: params.yaml, `-S`, runtime.toml, judges."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.fuzz.cases import ROOT, Reader, Target
from benchmarks.fuzz.mutate import as_json

RUNTIME: list[dict[str, Any]] = [
    {"device": "cpu", "micro_batch": 4, "threads": 2, "gradient_checkpointing": True},
    {"judge_url": "http://127.0.0.1:8000/v1", "judge_workers": 2, "judge_timeout": 60},
    {"report_to": ["tensorboard", "wandb"], "run_name": "seed 3", "judge_key_variable": "KEY"},
]
TOP = [{"token": "A", "logprob": -0.5}, {"token": " B", "logprob": -1.5}]
CONTENT = [{"token": "A", "logprob": -0.5, "top_logprobs": TOP}]
REPLIES: list[dict[str, Any]] = [
    {"choices": [{"message": {"content": "A"}, "logprobs": {"content": CONTENT}}]},
    {"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": "B."}}]},
    {"choices": [{"message": {"content": None}, "logprobs": None}], "usage": {"total_tokens": 3}},
]
OPTIONS = [
    b"prepare.columns.prompt=question\nprepare.columns.chosen=a.b\nprepare.columns.rejected='x'",
    b"prepare.columns.response_a=a\nprepare.columns.response_b=b\nprepare.columns.label=winner"
    b"\nprepare.columns.label_a=0\nprepare.columns.label_b=1",
    b"prepare.bad_rows=drop\nprepare.columns.responses=r.*.text\nprepare.columns.scores=r.*.n",
]
QUESTIONS = [
    {"template": "{prompt} A: {first} B: {second}", "answers": ["A", "B"]},
    {"template": "{{x}} {prompt}{first}{second}", "answers": ["first", " second"]},
]


def _yaml(value: object) -> bytes:
    """Values as YAML: JSON, whose keys at the first level are lines of their own."""
    if not isinstance(value, dict):
        return as_json(value)
    lines = (f"{json.dumps(key)}: {json.dumps(item)}\n" for key, item in value.items())
    return "".join(lines).encode()


def _toml(value: object) -> bytes:
    """Values as TOML, a key a line."""
    items = value.items() if isinstance(value, dict) else [("device", value)]
    return "".join(f"{key} = {json.dumps(item)}\n" for key, item in items).encode(
        "utf-8", "replace"
    )


def _repository() -> dict[str, Any]:
    from ruamel.yaml import YAML

    values: dict[str, Any] = YAML(typ="safe").load(ROOT / "params.yaml")
    return values


def _params(folder: Path) -> Target:
    from westofn.params.whole import load_params

    path = folder / "params.yaml"

    def read(content: bytes) -> object:
        path.write_bytes(content)
        return load_params(path)

    values = _repository()
    return Target([(ROOT / "params.yaml").read_bytes(), values, values], read, _yaml)


def _sections(folder: Path) -> Target:
    """A section with those that it takes values from, so that the file is short."""
    from westofn.params.file import load_section, read_params
    from westofn.params.whole import SECTIONS

    path = folder / "params.yaml"
    values = _repository()
    needed = {
        name: [name, *(default.section.key for default in kind.defaults)]
        for name, kind in SECTIONS.items()
    }

    def read(content: bytes) -> object:
        path.write_bytes(content)
        given = [name for name in read_params(path) if name in SECTIONS]
        return [load_section(SECTIONS[name], path) for name in given[:1]]

    seeds = [{key: values[key] for key in keys if key in values} for keys in needed.values()]
    return Target(seeds, read, _yaml)


def _options(_: Path) -> Target:
    from westofn.sources.column_settings import as_options, parse_settings

    def read(content: bytes) -> object:
        given = parse_settings(content.decode(errors="surrogateescape").split("\n"))
        return as_options(given.columns) if given.columns else None

    return Target(OPTIONS, read)


def _tuned_params(folder: Path) -> Target:
    from westofn.tuning.params_file import set_values

    path = folder / "params.yaml"

    def read(content: bytes) -> object:
        path.write_bytes(content)
        return set_values(path, {"filter.quantile": 0.5, "filter.likelihood_quantile": 0.25})

    filters = {"filter": {"quantile": 0.0, "likelihood_quantile": 0.1}}
    text = b"seed: 1  # of all\nfilter:\n  quantile: 0.5   # kept\n  likelihood_quantile: 0\n"
    return Target([filters | {"seed": 1}, text, text], read, _yaml_blocks)


def _yaml_blocks(value: object) -> bytes:
    """Values as YAML in block style, two levels deep."""
    if not isinstance(value, Mapping):
        return as_json(value)
    text = ""
    for key, item in value.items():
        nested = item if isinstance(item, Mapping) and item else None
        text += f"{json.dumps(key)}: {'' if nested else json.dumps(item)}\n"
        for name, inner in (nested or {}).items():
            text += f"  {json.dumps(name)}: {json.dumps(inner)}\n"
    return text.encode()


def _runtime(folder: Path) -> Target:
    """runtime.toml, where no variable of the environment stands above it."""
    from unittest import mock

    from westofn.runtime import load_runtime

    path = folder / "runtime.toml"

    def read(content: bytes) -> object:
        path.write_bytes(content)
        with mock.patch.dict(os.environ, clear=True):
            return load_runtime(path)

    return Target(RUNTIME, read, _toml, ["threads", "device"])


def _replies(_: Path) -> Target:
    from unittest import mock

    from westofn.judging.openai import OpenAiJudge
    from westofn.servers.client import Client, Server

    judge = OpenAiJudge(Server("http://127.0.0.1:9/v1"), "m1")

    def read(content: bytes) -> object:
        text = content.decode(errors="replace")
        with mock.patch.object(Client, "reply", return_value=text):
            return judge._answer(None, "which?")  # type: ignore[arg-type]

    return Target(REPLIES, read)


def _questions(_: Path) -> Target:
    from westofn.errors import ParameterError
    from westofn.judging.question import ask, check_question

    def read(content: bytes) -> object:
        try:
            given = json.loads(content)
            template, (first, second) = given["template"], given["answers"]
        except (ValueError, LookupError, TypeError, RecursionError):
            raise ParameterError("the fuzz's own wrapping") from None
        if not all(isinstance(text, str) for text in (template, first, second)):
            raise ParameterError("types, which pydantic checks")
        check_question(template, (first, second))
        return ask(template, "{p}", "{0}", "}")

    return Target(QUESTIONS, read)


READERS = (
    Reader("params.yaml", "params/whole.py", 1_000, _params),
    Reader("sections of params.yaml", "params/file.py", 5_000, _sections),
    Reader("params.yaml, set by `tune`", "tuning/params_file.py", 3_000, _tuned_params),
    Reader("`-S` of `inspect` and `score`", "sources/column_settings.py", 20_000, _options),
    Reader("runtime.toml", "runtime.py", 90_000, _runtime),
    Reader("replies of a judge", "judging/openai.py", 130_000, _replies),
    Reader("templates of a judge", "judging/question.py", 120_000, _questions),
)
