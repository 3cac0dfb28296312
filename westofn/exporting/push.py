"""Push an export to a hub of models and data sets, in one commit.

huggingface_hub finds the token, in the environment or in its own login; this module only asks
whether there is a token, and hides it in what the hub answers. What can be known without the export
(the name, a token, a hub that answers) is checked by `target_of`, before anything is computed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from huggingface_hub import CommitOperationAdd, HfApi, constants, get_token
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

from westofn.errors import ParameterError, WestofnError
from westofn.exporting.cards import TAG
from westofn.hub import hub_answers, unreachable_reason
from westofn.plain_text import HIDDEN

Kind = Literal["model", "dataset"]
LOGIN = "run `hf auth login`, or set HF_TOKEN to a token with write access"
MEND = {
    400: "mend what it names and rerun",
    401: f"the token is not valid: {LOGIN}",
    403: "the token may not write there: give a name of your own or of your organisation, and a "
    "token with write access",
    404: "the repository is not there, or the token may not see it: rerun, or give another name",
    409: "another change was made at the same time: rerun",
    412: "another change was made at the same time: rerun",
    413: "a file is too large for the hub",
    429: "too many requests: wait some minutes and rerun",
}
"""HTTP status -> what the user can do."""
OWN_FILES = {".gitattributes"}
"""Files that the hub itself puts into a repository."""


class PushError(WestofnError):
    """An export cannot be pushed to the hub."""


@dataclass(frozen=True)
class Target:
    """A repository on the hub.

    Attributes:
        name: OWNER/NAME, or NAME of a repository of the token's owner.
        kind: Kind of the repository.
        private: Whether only its owner sees it.
    """

    name: str
    kind: Kind
    private: bool

    @property
    def visibility(self) -> str:
        """The hub's word for who sees the repository."""
        return "private" if self.private else "public"


@dataclass(frozen=True)
class Pushed:
    """Result of a push.

    Attributes:
        address: Address of the repository.
        remarks: What the hub remarks on the card.
    """

    address: str
    remarks: tuple[str, ...]


def target_of(name: str, kind: Kind, *, public: bool) -> Target:
    """Return the repository to push to, after checks that need no export.

    Raises:
        ParameterError: The hub does not allow the name, or the name is the token.
        PushError: There is no token, the hub is not used or does not answer, or its address has a
            password.
    """
    token = _token()
    if token and token in name:
        raise ParameterError("--push: this is the token, needs a name on the hub, OWNER/NAME")
    try:
        validate_repo_id(name)
    except HFValidationError:
        raise ParameterError(
            f"--push: {name!r} is not a name on the hub, needs OWNER/NAME of letters, digits, "
            "'-', '_' and '.', at most 96 of them"
        ) from None
    if "@" in constants.ENDPOINT:
        raise PushError(
            f"--push {name}: HF_ENDPOINT has a name or a password, needs an address alone; the "
            "token is sent beside it"
        )
    if constants.is_offline_mode():
        raise PushError(
            f"--push {name}: HF_HUB_OFFLINE is set, so nothing can be pushed; unset it, or leave "
            "out --push"
        )
    if not token:
        raise PushError(f"--push {name}: there is no token for {constants.ENDPOINT}; {LOGIN}")
    if not hub_answers():
        raise PushError(
            f"--push {name}: {unreachable_reason()}; connect this machine, mend HF_ENDPOINT, or "
            "leave out --push"
        )
    return Target(name, kind, not public)


def _token() -> str:
    try:
        return get_token() or ""
    except Exception as error:  # the exchange of an OIDC token fails in many ways
        raise PushError(
            f"--push: no token by HF_OIDC_RESOURCE ({type(error).__name__}); mend or unset it"
        ) from None


def push(target: Target, files: Mapping[str, Path], place: Path) -> Pushed:
    """Create the repository if there is none, and commit the files of an export.

    Args:
        target: Repository, see `target_of`.
        files: Path in the repository -> file.
        place: Where the export is; errors name it.

    Raises:
        PushError: The hub refuses or cannot be reached, or there is a repository of this name with
            other files or another visibility. The export stays in its place.
    """
    # For these calls alone, a token is required; the library reads it each time.
    api = HfApi(token=True)
    try:
        with warnings.catch_warnings(record=True, action="always") as caught:
            name = _repository(api, target, files)
            api.create_commit(
                name,
                [CommitOperationAdd(path, file) for path, file in sorted(files.items())],
                commit_message=f"Export {place.name}",
                repo_type=target.kind,
            )
    except Exception as error:  # hf_xet and the client of HTTP have errors of many classes
        raise PushError(
            f"--push {target.name}: {_reason(error)}; the export is in {place}"
        ) from None
    folder = "datasets/" if target.kind == "dataset" else ""
    remarks = tuple(_hidden(str(warning.message)) for warning in caught)
    return Pushed(f"{api.endpoint}/{folder}{name}", remarks)


def _repository(api: HfApi, target: Target, files: Mapping[str, Path]) -> str:
    """Create a repository, or check that an existing one is an earlier push; return its name."""
    try:
        created = api.create_repo(target.name, repo_type=target.kind, private=target.private)
    except HfHubHTTPError as error:
        if error.response.status_code != 409:
            raise
    else:
        return created.repo_id
    owned = "/" in target.name
    name = target.name if owned else f"{api.whoami()['name']}/{target.name}"
    info = api.model_info(name) if target.kind == "model" else api.dataset_info(name)
    present = {file.rfilename for file in info.siblings or []} - OWN_FILES
    if bool(info.private) != target.private:
        visibility = "private" if info.private else "public"
        mend = "leave out --public" if info.private else "add --public"
        raise PushError(
            f"{name} exists and is {visibility}, needs to be {target.visibility}; {mend}, or give "
            "another name"
        )
    if present and TAG not in (info.tags or []):
        raise PushError(f"{name} exists and is not an export of westofn; give another name")
    if others := sorted(present.difference(files)):
        raise PushError(
            f"{name} exists and has {others[0]}, which is not a file of this export; delete it on "
            "the hub, or give another name"
        )
    return name


def _reason(error: Exception) -> str:
    """Return why the hub took no commit and how to mend it, without the token."""
    if isinstance(error, PushError):
        return str(error)
    if not isinstance(error, HfHubHTTPError):
        return (
            f"the transfer broke off ({type(error).__name__}: {_hidden(str(error))}); check the "
            "network and rerun"
        )
    status = error.response.status_code
    words = f" ({_hidden(error.server_message)})" if error.server_message else ""
    mend = MEND.get(status, "wait some minutes and rerun")
    return f"{constants.ENDPOINT} answers {status}{words}: {mend}"


def _hidden(text: str) -> str:
    """Return a text of the hub or of a library as one line, without the token."""
    token = _token()
    line = " ".join(text.split())
    return (line.replace(token, HIDDEN) if token else line)[:300]
