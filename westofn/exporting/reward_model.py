"""Export a reward model to a folder with a model card.

| family | the export is loaded by |
|---|---|
| causal, encoder-only | plain transformers, as a classifier with one label; see `classifier` |
| encoder–decoder | `load_reward_models`, which checks the canaries of its card |

An encoder–decoder reads the prompt with its encoder and the response with its decoder; no
classifier of transformers supports this.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from westofn.errors import ModelError
from westofn.exporting.cards import check_folder, new_folder, write_card
from westofn.exporting.classifier import require_classifier, write_classifier
from westofn.exporting.lineage import LOCK, lineage_of
from westofn.exporting.metadata import check_license
from westofn.exporting.model_card import about_model, body, header
from westofn.exporting.usage import use_by_transformers, use_by_westofn
from westofn.models.card import member_folder, model_files
from westofn.models.ensemble import load_reward_models


def export_reward_model(
    out: Path,
    *,
    model: Path,
    metrics: Path | None = None,
    license: str | None = None,  # noqa: A002 (the name of the field in the card)
    lock: Path = LOCK,
) -> None:
    """Export a reward model or an ensemble.

    Args:
        out: Folder to write; an earlier export in it is replaced.
        model: Folder of the model that a stage wrote.
        metrics: Path of eval's `metrics.json`; None: look up the evaluation of this model in
            dvc.lock.
        license: License for the card; None: known for what only the embedded world gave.
        lock: Path of dvc.lock.

    Raises:
        ModelError: The model is missing, damaged, or changed since it was saved; or a causal or
            encoder-only model cannot be a classifier of transformers.
        DataError: `out` exists and is not an export or has other files, or a file cannot be read or
            written.
        ParameterError: The license cannot be one.
    """
    check_folder(out, [model])
    check_license(license)
    members = load_reward_models(model).members
    about = about_model(model, out.name, lineage_of(model, lock), metrics, license, lock)
    as_classifier = about.card.family != "encoder_decoder"
    if as_classifier and len(members) > 1:
        raise ModelError(
            f"{model} is an ensemble of {len(members)}, a classifier of transformers is one model; "
            f"export a member, such as {member_folder(model, 0)}"
        )
    if as_classifier:
        require_classifier(members[0], model)
    with new_folder(out) as place:
        if as_classifier:
            use = use_by_transformers(about, members[0].encoder)
            write_classifier(members[0], about.card.canaries, place)
            head = header(about, library_name="transformers", pipeline_tag="text-classification")
            write_card(place, out.name, head, body(about, use))
        else:
            for file in model_files(model):
                (place / file).parent.mkdir(exist_ok=True)
                shutil.copyfile(model / file, place / file)
            write_card(
                place, out.name, header(about, ["westofn"]), body(about, use_by_westofn(about))
            )
