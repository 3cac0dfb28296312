"""Header of a card as hubs read it: license, base model, data sets, and measured accuracy.

What is not known is left out: a name that could be a folder is no model of the hub, and a license
is only stated for what the embedded world and models from scratch give, or if the user names it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from huggingface_hub import CardData, DatasetCardData, EvalResult, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from westofn.errors import ParameterError
from westofn.params.reward_start import OF_PIPELINE

OWN_LICENSE = "apache-2.0"
"""License of this project, and so of the texts of its world and of models from scratch on them."""
_OWN = (
    ("prepare", "source", ("world",)),
    ("prepare", "answers", ("none",)),
    ("prepare", "sft", ("chosen",)),
    ("prepare", "unlabeled", ("half",)),
    ("sft", "model", ("scratch",)),
    ("reward_start", "model", OF_PIPELINE),
    ("sample", "engine", ("local", "vllm")),
)
"""Section, key and values of a run that uses no data and no model from elsewhere."""
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_HUB_SETS = {
    "hh": "Anthropic/hh-rlhf",
    "tldr": "openai/summarize_from_feedback",
    "ultrafeedback": "openbmb/UltraFeedback",
}
"""`prepare.source` -> name on the hub."""


def check_license(name: str | None) -> str | None:
    """Return the license that the user names, if it can be an identifier of one.

    Raises:
        ParameterError: It is not lower-case letters, digits, '.', '+' and '-'.
    """
    if name is not None and not _LICENSE.fullmatch(name):
        raise ParameterError(
            f"--license: {name!r} is not an identifier of a license, needs one such as apache-2.0, "
            "mit, cc-by-4.0 or other"
        )
    return name


def license_of(params: Mapping[str, Any], named: str | None) -> str | None:
    """Return the license of an output; None if it is not known.

    Args:
        params: Parameters that produced the output, as `lineage_of` finds them.
        named: License that the user names.
    """
    recorded = [
        (section in params, params.get(section, {}).get(key, values[0]) in values)
        for section, key, values in _OWN
    ]
    is_own = recorded[0][0] and all(own for _, own in recorded)
    return named or (OWN_LICENSE if is_own else None)


def base_model(params: Mapping[str, Any], role: str) -> str | None:
    """Return the pretrained model of the hub from which a model was trained; None if unknown.

    Args:
        params: Parameters that produced the model.
        role: policy or reward_model.
    """
    start = "policy"
    if role == "reward_model":
        start = params.get("reward_start", {}).get("model", "policy")
    name = params.get("sft", {}).get("model", "scratch") if start == "policy" else start
    return name if _is_on_hub(name) else None


def datasets(params: Mapping[str, Any]) -> list[str] | None:
    """Return the hub's names of the human preferences of a run; None if there are none."""
    prepare = params.get("prepare", {})
    if prepare.get("source", "world") == "world":
        return None
    name = prepare.get("hub", {}).get("name", "none")
    name = _HUB_SETS.get(prepare["source"]) if name == "none" else name
    return [name] if name else None


def _is_on_hub(name: str) -> bool:
    """Return whether a value of a parameter is OWNER/NAME, and not a folder of this machine."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1 and not Path(name.split("/")[0]).is_dir()


def model_header(
    name: str,
    params: Mapping[str, Any],
    *,
    role: str,
    license: str | None,  # noqa: A002 (the name of the field)
    tags: list[str],
    metrics: Mapping[str, Any] | None = None,
    library_name: str | None = None,
    pipeline_tag: str | None = None,
) -> dict[str, Any]:
    """Return the header of a model card.

    Args:
        name: Name of the model in its results.
        params: Parameters that produced the model.
        role: policy or reward_model.
        license: License that the user names.
        tags: Tags of the card.
        metrics: Content of eval's `metrics.json`, whose accuracy becomes a result.
        library_name: Library that loads the model, where the hub knows it.
        pipeline_tag: Task of the model, where the hub has one.
    """
    results = [_accuracy(params, metrics)] if metrics and "accuracy" in metrics else None
    data = ModelCardData(
        license=license_of(params, license),
        base_model=base_model(params, role),
        datasets=datasets(params),
        tags=tags,
        model_name=name,
        eval_results=results,
        metrics=["accuracy"] if results else None,
        library_name=library_name,
        pipeline_tag=pipeline_tag,
    )
    header = _as_dict(data)
    header.pop("model_name", None)  # without results it would stay
    return header


def _accuracy(params: Mapping[str, Any], metrics: Mapping[str, Any]) -> EvalResult:
    """Return the accuracy on held-out pairs as a result with the name of their data."""
    kind, name = _test_data(params)
    return EvalResult(
        task_type="text-classification",
        task_name="Preference of one response over another",
        dataset_type=kind,
        dataset_name=name,
        dataset_split="test",
        metric_type="accuracy",
        metric_name="Accuracy on held-out preferences",
        metric_value=metrics["accuracy"],
    )


def _test_data(params: Mapping[str, Any]) -> tuple[str, str]:
    """Return type and name of the data whose test split `eval` reads."""
    prepare = params.get("prepare")
    if prepare is None:
        return "preferences", "Held-out preferences of a run that is not recorded"
    if prepare["source"] == "world":
        return "westofn-world", f"Embedded world of westofn, seed {params.get('seed', 0)}"
    if names := datasets(params):
        subset = prepare.get("files", {}).get("subset", "all")
        return names[0], names[0] if subset == "all" else f"{names[0]} ({subset})"
    stem = PurePath(str(prepare.get("path", "preferences"))).stem
    return stem, f"Preferences of {stem}"


def dataset_header(
    params: Mapping[str, Any],
    *,
    license: str | None,  # noqa: A002 (the name of the field)
    **fields: Any,
) -> dict[str, Any]:
    """Return the header of a data set's card.

    Args:
        params: Parameters that produced the data.
        license: License that the user names.
        fields: Other fields, such as tags and configs.
    """
    data = DatasetCardData(
        license=license_of(params, license), source_datasets=datasets(params), **fields
    )
    return _as_dict(data)


def _as_dict(data: CardData) -> dict[str, Any]:
    header: dict[str, Any] = data.to_dict()  # type: ignore[no-untyped-call]
    return header
