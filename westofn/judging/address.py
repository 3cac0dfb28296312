"""The address of a judge's server."""

from __future__ import annotations

from urllib.parse import urlsplit

from westofn.errors import ParameterError

KEY_VARIABLE = "OPENAI_API_KEY"


def require_address(url: str, key_variable: str = "") -> None:
    """Refuse an address that is no URL of http, or in which a key may stand.

    Args:
        url: Up to and without `/chat/completions`, such as `http://127.0.0.1:8000/v1`.
        key_variable: Environment variable of the key, for messages; empty: the default.

    Raises:
        ParameterError: The address cannot be used.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # such as a port that is no number
        valid = False
    if any(sign in url for sign in "@?#"):  # nothing of it is shown, whatever the rest is
        raise ParameterError(
            "judge: the server's address holds a name or password, a query or a fragment; leave "
            f"it out, and put the key into the environment variable {key_variable or KEY_VARIABLE}"
        )
    if not valid:
        raise ParameterError(
            f"judge: the server's address is {url!r}, needs one such as http://127.0.0.1:8000/v1; "
            "set WESTOFN_JUDGE_URL, or judge_url in runtime.toml"
        )
