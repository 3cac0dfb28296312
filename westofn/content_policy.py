"""The Content-Security-Policy of pages: a browser runs their own scripts, fetches nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence


def content_policy(scripts: Sequence[str], style: str) -> str:
    """Return the policy of a page that brings these scripts and this style.

    Each is allowed by its SHA-256, so a script or style that a text of data brought would not be.

    Args:
        scripts: Content of the page's script elements, which is code of this project and its
            libraries.
        style: Content of its style element.

    >>> content_policy(["f()"], "a {}").count("sha256-")
    2
    """
    allowed = " ".join(map(_source, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_source(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _source(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
