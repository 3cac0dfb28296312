"""What `serve` looks at before it imports torch."""

from __future__ import annotations

import os
import socket

from westofn.errors import ParameterError
from westofn.runtime import is_variable_name


def key_of(variable: str) -> str:
    """Return the key that requests must bear; "" if no variable is named.

    Raises:
        ParameterError: The variable is unset, or is no name of one: it may be the key itself, so it
            is not shown.
    """
    if not variable:
        return ""
    if not is_variable_name(variable):
        raise ParameterError(
            "--key-variable needs the name of an environment variable in capitals, such as "
            "REWARD_KEY, and not the key itself"
        )
    key = os.environ.get(variable, "").strip()
    if not (key and key.isascii() and key.isprintable()):
        raise ParameterError(
            f"--key-variable: {variable} is unset, empty or holds characters that no key has; set "
            "it to the key"
        )
    return key


def listening_socket(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 is any free one.

    Raises:
        ParameterError: The address cannot be used.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise ParameterError(
            f"{host}:{port} cannot be listened at ({reason}); give another --host or --port"
        ) from None
