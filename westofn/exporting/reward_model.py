"""A reward model in a folder for others: what it needs to be loaded, and a model card.

An encoder–decoder reads the prompt by its encoder and the response by its decoder, which no
classifier of transformers does. Its folder is read by `load_reward_model`, with weights, head,
tokenizer, and the card whose canaries are checked at every load.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from westofn.errors import DataError
from westofn.exporting.cards import CARD, check_card, write_card
from westofn.exporting.lineage import LOCK, lineage_of
from westofn.exporting.model_card import About, about_model, body, header
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
        ModelError: The model is missing, damaged, or changed since it was saved.
        DataError: `out` is there and is no export, or a file cannot be read.
    """
    _check_place(out)
    load_reward_models(model)
    about = about_model(model, out.name, lineage_of(model, lock), metrics, lock)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as name:
        place = Path(name) / out.name
        shutil.copytree(model, place)
        (place / CARD).unlink(missing_ok=True)  # of an export that is exported again
        write_card(place, out.name, header(["westofn"]), body(about, _use(about)))
        put(place, out)


def _check_place(out: Path) -> None:
    """Refuse to replace a folder that is not an earlier export."""
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not (out / CARD).is_file()):
        raise DataError(f"{out} is there and is no export; give a folder that is not there yet")
    check_card(out / CARD, out.name)


def _use(about: About) -> list[str]:
    """How to load it, in five lines."""
    if about.card.comparator == "pointwise":
        name, call = "mean_rewards", "mean_rewards(model, [prompt], [[response, another]])"
    else:
        name, call = "mean_pair_margins", "mean_pair_margins(model, [prompt], [one], [another])"
    return [
        "```python\nfrom pathlib import Path\n"
        f"from westofn.models.ensemble import load_reward_models, {name}\n"
        f'model = load_reward_models(Path("{about.name}"))\n{call}\n```',
        f"Or for rows of JSONL: `python -m westofn score rows.jsonl --model {about.name}`.",
    ]
