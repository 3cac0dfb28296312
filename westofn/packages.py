"""Packages of the extras in pyproject.toml, which are not always installed."""

from __future__ import annotations

from importlib.util import find_spec

from westofn.errors import ParameterError

EXTRAS = {
    "large": ("rensa",),
    "ray": ("ray",),
    "serve": ("starlette", "uvicorn"),
}
"""Extra -> the packages that are imported for what it adds."""


def require_extra(extra: str, purpose: str, instead: str = "") -> None:
    """Refuse what an extra is needed for where a package of it is missing.

    Args:
        extra: A key of `EXTRAS`.
        purpose: What needs it, as the subject of a sentence.
        instead: What to do without it, after "or".

    Raises:
        ParameterError: A package is not installed.
    """
    if missing := [name for name in EXTRAS[extra] if find_spec(name) is None]:
        other = f", or {instead}" if instead else ""
        raise ParameterError(
            f"{purpose} needs {' and '.join(missing)}, which is not installed: "
            f"pip install -c constraints.txt -e '.[{extra}]'{other}"
        )
