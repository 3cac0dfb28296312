"""Saved models that a command or stage was given, before it imports torch to load them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from westofn.models.card import CARD, member_folders, read_card


def require_saved(role: Literal["policy", "reward_model"], *folders: Path) -> None:
    """Refuse folders whose card tells that they are not what is needed.

    Args:
        role: What each folder has to hold.
        folders: Folders of models, or of ensembles.

    Raises:
        ModelError: A folder or a card is missing, damaged, or of another role.
    """
    for folder in folders:
        plain = (folder / "config.json").is_file() and not (folder / CARD).exists()
        if plain:
            continue  # loading it tells what else it may be
        for member in member_folders(folder):
            read_card(member, role)
