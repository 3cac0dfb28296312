"""Whether the hub of models and data sets can be asked, known in seconds.

The libraries ask an unreachable hub again and again, for half a minute a file.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from westofn.errors import ModelError

PATIENCE_SECONDS = 3.0


def hub_answers() -> bool:
    """Whether the hub, or the proxy to it, takes a connection; asks for seconds at most."""
    if constants.is_offline_mode():
        return False
    hub = urlsplit(constants.ENDPOINT)
    proxy = getproxies().get(hub.scheme)
    if proxy and not proxy_bypass(hub.hostname or ""):
        hub = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    address = (hub.hostname or "", hub.port or (80 if hub.scheme == "http" else 443))
    answered = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection(address, PATIENCE_SECONDS).close()
        except OSError:
            return
        answered.set()

    # In a thread, as the look-up of a host's name takes no time limit.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    return answered.is_set()


def silence() -> str:
    """Why the hub does not answer, as a message says it."""
    why = "is not asked (HF_HUB_OFFLINE)" if constants.is_offline_mode() else "cannot be reached"
    return f"{constants.ENDPOINT} {why}"


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
