"""A reward model in a folder for others: what it needs to be loaded, and a model card.

| family | the folder is loaded by |
|---|---|
| causal, encoder-only | plain transformers, as a classifier with one label; see `classifier` |
| encoder–decoder | `load_reward_models`, with the card whose canaries are checked at every load |

An encoder–decoder reads the prompt by its encoder and the response by its decoder, which no
classifier of transformers does.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from westofn.errors import ModelError
from westofn.exporting.cards import CARD, check_folder, write_card
from westofn.exporting.classifier import require_classifier, write_classifier
from westofn.exporting.lineage import LOCK, lineage_of
from westofn.exporting.model_card import about_model, body, header
from westofn.exporting.usage import use_by_transformers, use_by_westofn
from westofn.models.card import member_folder
from westofn.models.ensemble import load_reward_models
from westofn.models.folder import put


def export_reward_model(
    out: Path, *, model: Path, metrics: Path | None = None, lock: Path = LOCK
) -> None:
    """Write a reward model, or an ensemble, into a folder of its own.

    Args:
        out: The folder; an earlier export there is replaced.
        model: Folder that a stage wrote.
        metrics: `metrics.json` of eval; None takes what dvc.lock says was measured of this content.
        lock: DVC's record of the run.

    Raises:
        ModelError: The model is missing, damaged, or changed since it was saved; or it is of a
            family of classifiers, and no classifier of transformers can be it.
        DataError: `out` is there and is no export, or a file cannot be read.
    """
    check_folder(out)
    members = load_reward_models(model).members
    about = about_model(model, out.name, lineage_of(model, lock), metrics, lock)
    plain = about.card.family != "encoder_decoder"
    if plain and len(members) > 1:
        raise ModelError(
            f"{model} is an ensemble of {len(members)}, a classifier of transformers is one model; "
            f"export a member, such as {member_folder(model, 0)}"
        )
    if plain:
        require_classifier(members[0], model)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as name:
        place = Path(name) / out.name
        if plain:
            use = use_by_transformers(about, members[0].encoder)
            write_classifier(members[0], about.card.canaries, place)
            tags = header(library_name="transformers", pipeline_tag="text-classification")
            write_card(place, out.name, tags, body(about, use))
        else:
            shutil.copytree(model, place)
            (place / CARD).unlink(missing_ok=True)  # of an export that is exported again
            write_card(place, out.name, header(["westofn"]), body(about, use_by_westofn(about)))
        put(place, out)
