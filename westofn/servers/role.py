"""Who asks a server, and the address at which it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from westofn.errors import JudgeError, ParameterError, SamplingError, WestofnError

KEY_VARIABLE = "OPENAI_API_KEY"


@dataclass(frozen=True)
class Role:
    """Who asks a server; messages name its settings.

    Attributes:
        name: Begins the keys of its settings, such as `judge_url` in runtime.toml.
        section: Its parameters, such as `study.judge.prompted`.
        timeout: Seconds that a request may take, unless the settings say otherwise.
        error: What is raised when the server cannot be asked.
    """

    name: str
    section: str
    timeout: int
    error: type[WestofnError]

    @property
    def url_key(self) -> str:
        """Key of the address in runtime.toml."""
        return f"{self.name}_url"

    @property
    def url_variable(self) -> str:
        """Environment variable of the address."""
        return f"WESTOFN_{self.url_key.upper()}"


JUDGE = Role("judge", "study.judge.prompted", 60, JudgeError)
SAMPLER = Role("sample", "sample", 600, SamplingError)


def require_address(url: str, key_variable: str = "", role: Role = JUDGE) -> None:
    """Refuse an address that is no URL of http, or in which a key may stand.

    Args:
        url: Up to and without `/chat/completions`, such as `http://127.0.0.1:8000/v1`.
        key_variable: Environment variable of the key, for messages; empty: the default.
        role: Who asks.

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
            f"{role.name}: the server's address holds a name or password, a query or a fragment; "
            "leave it out, and put the key into the environment variable "
            f"{key_variable or KEY_VARIABLE}"
        )
    if not valid:
        raise ParameterError(
            f"{role.name}: the server's address is {url!r}, needs one such as "
            f"http://127.0.0.1:8000/v1; set {role.url_variable}, or {role.url_key} in runtime.toml"
        )
