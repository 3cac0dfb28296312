"""Where a pretrained model comes from: a folder, the hub's cache, or the hub, known in seconds."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from westofn.errors import ModelError
from westofn.hub import hub_answers, silence


def is_local(name: str, key: str = "sft.model") -> bool:
    """Whether a pretrained model is to be read without a network: a folder, or a cached name.

    Args:
        name: A folder, or a name on the hub.
        key: The parameter that a message says to mend.

    Raises:
        ModelError: It is neither, and the hub cannot be reached or cannot have such a name.
    """
    if Path(name).is_dir():
        return True
    missing = f"model {name!r} cannot be loaded: there is no such folder"
    try:
        cached = isinstance(try_to_load_from_cache(name, "config.json"), str)
    except HFValidationError:
        raise ModelError(f"{missing}; mend {key}") from None
    if hub_answers():
        return False
    if cached:
        return True
    raise ModelError(
        f"{missing}, it is not in the hub's cache, and {silence()}; "
        f"run `hf download {name} --local-dir FOLDER` on a connected machine and give the folder "
        f"as {key}"
    )
