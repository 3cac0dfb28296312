"""Whether the hub of models and data sets can be asked, known in seconds.

The libraries ask an unreachable hub again and again, for half a minute a file.
"""

from __future__ import annotations

import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from huggingface_hub import constants

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
