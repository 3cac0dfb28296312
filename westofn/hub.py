"""Fast check whether the hub of models and data sets can be reached.

Without it, the libraries retry an unreachable hub for half a minute per file.
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
    """Return whether the hub, or the proxy to it, accepts a connection within seconds."""
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

    # In a thread, because the look-up of a host name has no time limit.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    return answered.is_set()


def unreachable_reason() -> str:
    """Return the clause of an error message that says why the hub does not answer."""
    reason = "is not used (HF_HUB_OFFLINE)" if constants.is_offline_mode() else "cannot be reached"
    return f"{constants.ENDPOINT} {reason}"


def is_local(name: str, key: str = "sft.model") -> bool:
    """Return whether to load a pretrained model without a network, from a folder or the cache.

    Args:
        name: A folder, or a name on the hub.
        key: Name of the parameter in error messages.

    Raises:
        ModelError: The name is no folder and not in the cache, and the hub cannot be reached or
            does not allow such a name.
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
        f"{missing}, it is not in the hub's cache, and {unreachable_reason()}; "
        f"run `hf download {name} --local-dir FOLDER` on a connected machine and give the folder "
        f"as {key}"
    )
