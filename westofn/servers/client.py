"""Requests to an OpenAI-compatible server, with retries, and refusals as one line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, TypeVar

import openai

from westofn.errors import ParameterError, WestofnError
from westofn.servers.role import JUDGE, KEY_VARIABLE, Role, require_address

Item = TypeVar("Item")
Result = TypeVar("Result")
WORKERS = 8
_SHOWN_CHARACTERS = 200
_REFUSED = frozenset({400, 422})
_PASSING = (408, 409, 429)
_TOO_LONG = re.compile(r"context (length|size|window)|max_model_len")
"""How refusals name what the server has no room for; they name fields that are known too."""
CHAT, TEXT = "chat/completions", "completions"


@dataclass(frozen=True)
class Server:
    """The server's address and key, and how patiently it is asked.

    Attributes:
        url: Up to and without `/chat/completions`, such as `http://127.0.0.1:8000/v1`.
        key: Sent as a bearer token; empty: none is sent. No message shows it.
        key_variable: Where the key is read from, for messages.
        workers: Requests at once.
        timeout: Seconds for a connection, and between two pieces of a reply.
        retries: Further attempts after a passing failure: no reply, or status 408, 409, 429 or
            from 500 on. The client waits for half a second before the first one, twice as long
            before each later one up to 8, or as long as the server says (Retry-After).
        role: Who asks.

    Raises:
        ParameterError: The URL is none, or holds a password; or the key cannot be sent.
    """

    url: str
    key: str = field(default="", repr=False)
    key_variable: str = KEY_VARIABLE
    workers: int = WORKERS
    timeout: float = 60.0
    retries: int = 6
    role: Role = JUDGE

    def __post_init__(self) -> None:
        require_address(self.url, self.key_variable, self.role)
        if not (self.key.isascii() and self.key.isprintable()):
            raise ParameterError(
                f"{self.role.name}: the key in {self.key_variable} holds characters that no key "
                "has; set it again, without quotes or line ends"
            )

    @classmethod
    def of_settings(
        cls, role: Role, url: str, key_variable: str, workers: int, timeout: int
    ) -> Server:
        """Return the server that this machine's settings name; empty or 0 is the default.

        Args:
            role: Who asks.
            url: See the class.
            key_variable: See the class; the key is read from this environment variable.
            workers: See the class.
            timeout: See the class.

        Raises:
            ParameterError: There is no address, or it cannot be used.
        """
        variable = key_variable or KEY_VARIABLE
        return cls(
            url,
            key=os.environ.get(variable, "").strip(),
            key_variable=variable,
            workers=workers or WORKERS,
            timeout=timeout or role.timeout,
            role=role,
        )

    def endpoint(self, path: str) -> str:
        """Return the address that takes requests of a kind: `CHAT` or `TEXT`."""
        return f"{self.url.rstrip('/')}/{path}"


@dataclass
class Contact:
    """What earlier requests showed about the server.

    Attributes:
        reached: Whether it has answered.
        refused: Optional fields that it does not know.
        max_tokens: Tokens of the longest text that its list of models states for this one (vLLM and
            SGLang do); None: it states none.
    """

    reached: bool = False
    max_tokens: int | None = None
    refused: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Client:
    """Asks one model of a server.

    Attributes:
        server: Where to ask.
        model: The server's name for the model.
        path: `CHAT` or `TEXT`.
        contact: What earlier requests showed; shared by all requests.
    """

    server: Server
    model: str
    path: str = CHAT
    contact: Contact = field(default_factory=Contact, repr=False, compare=False)

    def ask_all(
        self, items: Sequence[Item], ask: Callable[[openai.OpenAI, Item], Result]
    ) -> list[Result]:
        """Apply `ask` to every item, `server.workers` at a time, and return the results in order.

        Raises:
            WestofnError: What `ask` raises for an item. Requests that have not started are not
                sent.
        """
        with (
            self._connection() as connection,
            ThreadPoolExecutor(max_workers=self.server.workers) as pool,
        ):
            self._reach(connection)
            answers = [pool.submit(ask, connection, item) for item in items]
            try:
                wait(answers, return_when=FIRST_EXCEPTION)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
            for answer in answers:
                if answer.done() and not answer.cancelled():
                    answer.result()  # raises what stopped the others
        return [answer.result() for answer in answers]

    def reply(
        self,
        connection: openai.OpenAI,
        content: Callable[[frozenset[str]], Mapping[str, Any]],
        optional: Callable[[frozenset[str]], Mapping[str, object]],
        names: Mapping[str, str],
    ) -> str:
        """Return the reply's body; a server that does not know an optional field is asked again.

        Args:
            connection: As `ask_all` gives it.
            content: Refused fields -> `messages` or `prompt`.
            optional: Refused fields -> the optional fields to send.
            names: What may be refused -> a regular expression by which a refusal names it; the more
                particular first.
        """
        asked = connection.chat.completions if self.path == CHAT else connection.completions
        create: Callable[..., Any] = asked.with_raw_response.create
        while True:
            refused = self.contact.refused
            try:
                return str(
                    create(
                        model=self.model,
                        **content(refused),
                        extra_body=optional(refused),
                        extra_headers=self._headers,
                    ).text
                )
            except openai.APIStatusError as error:
                status, text = error.status_code, error.response.text
            except openai.APIConnectionError as error:
                raise self._error(
                    f"{self.where} gave no reply in {self.server.retries + 1} attempts of "
                    f"{self.server.timeout:g} s ({type(error.__cause__).__name__}); rerun when it "
                    f"answers again, or raise {self.server.role.name}_timeout in runtime.toml"
                ) from None
            unknown = _unknown_field(status, text, refused, names)
            if unknown is None:
                raise self._error(self._complaint(status, self.shown(text)))
            self.contact.refused |= {unknown}

    def parsed(self, reply: str, read: Callable[[Any], Result]) -> Result:
        """Read the JSON of a reply.

        Raises:
            WestofnError: It is no completion.
        """
        try:
            return read(json.loads(reply))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            kind = "a chat completion" if self.path == CHAT else "a completion"
            raise self._error(
                f"{self.where} answers {self.shown(reply)!r}, needs {kind}; check that "
                f"{self.server.role.url_variable} is the address of an OpenAI-compatible server"
            ) from None

    @property
    def where(self) -> str:
        """Who asks which model at which address, for messages."""
        return f"{self.server.role.name} {self.model}: {self.server.endpoint(self.path)}"

    def shown(self, text: str) -> str:
        """The beginning of a body on one line, without the key."""
        if self.server.key:
            text = text.replace(self.server.key, "(key)")
        return " ".join(text.split())[:_SHOWN_CHARACTERS]

    def _connection(self) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=self.server.url,
            api_key=self.server.key or "none",  # not sent then, see `_headers`
            timeout=self.server.timeout,
            max_retries=self.server.retries,
            # A redirect is not followed: the key is for this address only.
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )

    @property
    def _headers(self) -> dict[str, Any]:
        return {} if self.server.key else {"Authorization": openai.omit}

    def _reach(self, connection: openai.OpenAI) -> None:
        """Ask for the list of models once, so that a wrong address fails without retries."""
        if self.contact.reached:
            return
        try:
            listed = connection.with_options(max_retries=0).models.with_raw_response.list(
                extra_headers=self._headers
            )
            self.contact.max_tokens = _longest(listed.text, self.model)
        except openai.APIStatusError:
            pass  # whatever it says, the server answers
        except openai.APIConnectionError as error:
            role = self.server.role
            raise self._error(
                f"{self.where} cannot be reached ({type(error.__cause__).__name__}); start the "
                f"server, or set {role.url_variable} or {role.url_key} in runtime.toml"
            ) from None
        self.contact.reached = True

    def _error(self, message: str) -> WestofnError:
        return self.server.role.error(message)

    def _complaint(self, status: int, shown: str) -> str:
        """What a refusal means and how to mend it, in one line."""
        role = self.server.role
        if status in (401, 403):  # the server's own words may repeat the key
            key = "the key was sent" if self.server.key else "no key is set"
            return (
                f"{self.where} answers {status}, {key}; put a key that it accepts into the "
                f"environment variable {self.server.key_variable}"
            )
        if status == 404:
            return (
                f"{self.where} answers 404: {shown}; give {role.section}.model a model that the "
                f"server has, and check the address ({role.url_variable} ends before "
                f"/{self.path})"
            )
        if status in _PASSING or status >= 500:
            return (
                f"{self.where} answers {status} after {self.server.retries + 1} attempts: {shown}; "
                f"rerun later, or lower {role.name}_workers in runtime.toml"
            )
        if _TOO_LONG.search(shown):
            return (
                f"{self.where} answers {status}: {shown}; start the server with room for longer "
                "texts (vLLM: --max-model-len)"
            )
        return (
            f"{self.where} answers {status}: {shown}; mend the parameters of {role.section} that "
            "it names"
        )


def _longest(listed: str, model: str) -> int | None:
    """Return `max_model_len` of a model in a reply that lists models; None: it is not stated."""
    try:
        stated = [
            entry["max_model_len"] for entry in json.loads(listed)["data"] if entry["id"] == model
        ]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return stated[0] if stated and isinstance(stated[0], int) else None


def _unknown_field(
    status: int, text: str, refused: frozenset[str], names: Mapping[str, str]
) -> str | None:
    """The optional field that a refusal names, if it was not left out already."""
    # llama-cpp-python answers 500 to a field that it cannot read.
    if status not in _REFUSED and not (status == 500 and "validation error" in text):
        return None
    if _TOO_LONG.search(text):
        return None
    named = (name for name, sign in names.items() if re.search(sign, text))
    return next((name for name in named if name not in refused), None)
