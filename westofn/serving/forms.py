"""The forms of requests and their answers, one class for each.

| path | whose form | a row is |
|---|---|---|
| /rewards | this project's | a row in any form that `score` reads |
| /classify, /pooling | vLLM's | a dialogue that ends with the response: messages, or one text |
| /score, /v1/score | vLLM's | a prompt and a response |
| /get_reward | OpenRLHF's remote reward model | a prompt, and a text that begins with it |

A field that a class does not have is refused, so that no option is accepted and ignored. vLLM's
options are accepted with the values that change nothing.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from westofn.artifacts.table import show
from westofn.scoring.rows import Row
from westofn.serving.batching import NewColumns
from westofn.serving.reading import Checked, Reader, row_of, rows_of
from westofn.serving.refused import RefusedError

_PAIRS = (
    ("queries", "documents"),
    ("queries", "items"),
    ("data_1", "data_2"),
    ("text_1", "text_2"),
)


class Form(BaseModel):
    """A request.

    Attributes:
        model: Name of the model; None: the one that is served.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    model: str | None = None

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a body.

        Raises:
            RefusedError: It is no JSON, or has other fields than the form.
        """
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise RefusedError(_fault(error, cls)) from None

    def read(self, reader: Reader) -> list[Row]:
        """Return the rows to score.

        Raises:
            RefusedError: There are none or too many, or one cannot be read.
            DataError: A row cannot be read.
        """
        raise NotImplementedError

    def answer(self, name: str, checked: Checked, columns: NewColumns) -> dict[str, Any]:
        """Return the answer.

        Args:
            name: Name of the served model.
            checked: The rows.
            columns: The columns that `score` would add to each row.
        """
        raise NotImplementedError


class Rewards(Form):
    """Rows as in a file that `score` reads; each gets the columns that `score` adds.

    Attributes:
        rows: The rows.
    """

    rows: list[dict[str, Any]]

    def read(self, reader: Reader) -> list[Row]:
        """See `Form.read`."""
        reader.check_count(len(self.rows))  # before the work of reading them
        return rows_of(self.rows, "rows")

    def answer(self, name: str, checked: Checked, columns: NewColumns) -> dict[str, Any]:
        """See `Form.answer`."""
        marks = [{"prompt_trimmed": True} if trimmed else {} for trimmed in checked.trimmed]
        rows = [{**new, **mark} for new, mark in zip(columns, marks, strict=True)]
        return {"model": name, "rows": rows}


class Pooled(Form):
    """Options of vLLM, with the values that change nothing here.

    Attributes:
        use_activation: Rewards are raw, so that no sigmoid is applied.
        truncate_prompt_tokens: Nothing is cut.
    """

    use_activation: Literal[False] | None = None
    truncate_prompt_tokens: None = None


class Classify(Pooled):
    """vLLM's classification: each dialogue has one class, whose number is the raw reward.

    Attributes:
        input: A text or several.
        messages: One dialogue.
    """

    input: Any = None
    messages: list[dict[str, Any]] | None = None

    def read(self, reader: Reader) -> list[Row]:
        """See `Form.read`."""
        if (self.input is None) == (self.messages is None):
            raise RefusedError("the request needs input or messages, and not both")
        if self.messages is not None:
            return [reader.dialogue(self.messages, "messages")]
        texts = _texts(self.input, "input")
        reader.check_count(len(texts))
        return [reader.dialogue(text, f"input[{index}]") for index, text in enumerate(texts)]

    def answer(self, name: str, checked: Checked, columns: NewColumns) -> dict[str, Any]:
        """See `Form.answer`."""
        rows = [
            {"index": index, "label": "reward", "probs": [reward], "num_classes": 1}
            for index, reward in enumerate(_rewards(columns))
        ]
        return _list_of("classify", name, rows, checked, columns)


class Pooling(Classify):
    """vLLM's pooling of a sequence classifier: a list of one number for each dialogue.

    Attributes:
        task: What vLLM calls the task of a sequence classifier.
        encoding_format: Numbers are written as numbers.
    """

    task: Literal["classify"] | None = None
    encoding_format: Literal["float"] = "float"

    def answer(self, name: str, checked: Checked, columns: NewColumns) -> dict[str, Any]:
        """See `Form.answer`."""
        rows = [
            {"index": index, "object": "pooling", "data": [reward]}
            for index, reward in enumerate(_rewards(columns))
        ]
        return _list_of("pool", name, rows, checked, columns)


class Score(Pooled):
    """vLLM's scores of two texts, under any of the names that vLLM has for them.

    The first text is the prompt, the second one the response. One prompt may have several
    responses; otherwise the i-th response belongs to the i-th prompt.

    Attributes:
        queries: Prompts.
        documents: Responses.
        items: Responses.
        data_1: Prompts.
        data_2: Responses.
        text_1: Prompts.
        text_2: Responses.
        encoding_format: Numbers are written as numbers.
    """

    queries: Any = None
    documents: Any = None
    items: Any = None
    data_1: Any = None
    data_2: Any = None
    text_1: Any = None
    text_2: Any = None
    encoding_format: Literal["float"] = "float"

    def read(self, reader: Reader) -> list[Row]:
        """See `Form.read`."""
        given = {name for pair in _PAIRS for name in pair if getattr(self, name) is not None}
        names = next((pair for pair in _PAIRS if set(pair) == given), None)
        if names is None:
            needed = "; or ".join(" and ".join(pair) for pair in _PAIRS)
            raise RefusedError(
                f"the request has {', '.join(sorted(given)) or 'no texts'}, needs {needed}"
            )
        prompts, responses = (_texts(getattr(self, name), name) for name in names)
        reader.check_count(len(responses))
        if len(prompts) not in (1, len(responses)):
            raise RefusedError(
                f"{len(prompts):,} {names[0]} and {len(responses):,} {names[1]}; needs one prompt, "
                "or a prompt for each response"
            )
        prompts *= len(responses) // len(prompts)
        return [
            row_of(prompt, response, f"{names[1]}[{index}]")
            for index, (prompt, response) in enumerate(zip(prompts, responses, strict=True))
        ]

    def answer(self, name: str, checked: Checked, columns: NewColumns) -> dict[str, Any]:
        """See `Form.answer`."""
        rows = [
            {"index": index, "object": "score", "score": reward}
            for index, reward in enumerate(_rewards(columns))
        ]
        return _list_of("score", name, rows, checked, columns)


class RemoteReward(Form):
    """What OpenRLHF asks of a remote reward model.

    Attributes:
        query: Prompts, each with its response behind it.
        prompts: The prompts; None: each query is a dialogue as in `Classify`.
        labels: Reference answers of the data; a reward model reads none.
    """

    query: Any = None
    prompts: Any = None
    labels: Any = None

    def read(self, reader: Reader) -> list[Row]:
        """See `Form.read`."""
        queries = _texts(self.query, "query")
        reader.check_count(len(queries))
        if self.prompts is None:
            return [reader.dialogue(text, f"query[{index}]") for index, text in enumerate(queries)]
        prompts = _texts(self.prompts, "prompts")
        if len(prompts) != len(queries):
            raise RefusedError(
                f"{len(queries):,} queries and {len(prompts):,} prompts; needs a prompt for each"
            )
        return [
            reader.query(query, prompt, f"query[{index}]")
            for index, (query, prompt) in enumerate(zip(queries, prompts, strict=True))
        ]

    def answer(self, name: str, checked: Checked, columns: NewColumns) -> dict[str, Any]:
        """See `Form.answer`."""
        rewards = _rewards(columns)
        return {
            "rewards": rewards,
            "scores": rewards,
            "extra_logs": {},
            **_too_long(checked, columns),
        }


FORMS: Mapping[str, type[Form]] = {
    "/rewards": Rewards,
    "/classify": Classify,
    "/pooling": Pooling,
    "/score": Score,
    "/v1/score": Score,
    "/get_reward": RemoteReward,
}
"""Path -> what is sent there."""


def _fault(error: ValidationError, form: type[Form]) -> str:
    """Return the first fault of a body, on one line."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "json_invalid":
        return f"the body is no JSON ({first['ctx']['error']}), needs an object"
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"{place}: unknown field; known: {', '.join(form.model_fields)}"
    return f"{place or 'the body'}: {first['msg']}, found {show(first['input'])}"


def _texts(value: object, name: str) -> list[str]:
    """Return a text, or a list of texts, as a list of at least one.

    Raises:
        RefusedError: It is something else.
    """
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts:
        raise RefusedError(f"{name} is {show(value)}, needs a text, or a list of at least one text")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            ids = " (token ids are not read)" if isinstance(text, int | list) else ""
            raise RefusedError(f"{name}[{index}] is {show(text)}, needs a text{ids}")
    return texts


def _rewards(columns: NewColumns) -> list[object]:
    return [new["reward"] for new in columns]


def _list_of(
    kind: str, name: str, rows: Sequence[object], checked: Checked, columns: NewColumns
) -> dict[str, Any]:
    """Return vLLM's frame around the rows of an answer."""
    return {
        "id": f"{kind}-{uuid.uuid4().hex}",
        "object": "list",
        "created": int(time.time()),
        "model": name,
        "data": rows,
        "usage": {
            "prompt_tokens": checked.tokens,
            "total_tokens": checked.tokens,
            "completion_tokens": 0,
            "prompt_tokens_details": None,
        },
        **_too_long(checked, columns),
    }


def _too_long(checked: Checked, columns: NewColumns) -> dict[str, list[int]]:
    """Return the indices of rows beyond the limits of training; nothing if there are none."""
    rows = enumerate(zip(columns, checked.trimmed, strict=True))
    indices = [index for index, (new, trimmed) in rows if trimmed or "beyond_limit" in new]
    return {"too_long": indices} if indices else {}
