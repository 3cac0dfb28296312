"""A model's card that names the files as they now are, as if the model had been saved so."""

from __future__ import annotations

import json
from pathlib import Path

from westofn.artifacts.integrity import SEAL, checksums, write_sealed
from westofn.models.card import CARD


def reseal(folder: Path, **changes: object) -> None:
    """Write the card anew with these changes and the checksums of the files in the folder."""
    card = json.loads((folder / CARD).read_text(encoding="utf-8")) | changes
    card.pop(SEAL, None)
    files = checksums(folder)
    files.pop(CARD)
    write_sealed(card | {"files": files}, folder / CARD)
