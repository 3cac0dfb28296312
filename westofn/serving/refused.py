"""Requests that the server refuses, each with a status and one line."""

from __future__ import annotations

from westofn.errors import WestofnError


class RefusedError(WestofnError):
    """A request is refused.

    Attributes:
        status: Status of the answer; 422 for a request that cannot be read.
        headers: Its headers.
    """

    def __init__(self, message: str, status: int = 422, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
