"""From the texts of a request to rows that the model reads, within the limits.

Texts are read as `score` reads them. A response is never cut. A prompt that training would have
trimmed, and a response that is longer than those of training, are refused, or scored and marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

from westofn.artifacts.table import show
from westofn.core.dialogue import Message, clean, normalised
from westofn.errors import DataError
from westofn.models.ensemble import Ensemble
from westofn.networks.limits import shared_positions
from westofn.scoring.rows import Row, read_rows
from westofn.scoring.stream import require_rewards
from westofn.serving.refused import RefusedError
from westofn.sources.columns import Columns
from westofn.sources.formats.joining import join_response
from westofn.sources.formats.mapped import text_of
from westofn.sources.formats.recognise import HEAD
from westofn.sources.formats.turns import Turns, turns_of
from westofn.sources.json_lines import JsonLine

TooLong = Literal["refuse", "score"]
_ADVICE = "; or give --bad-rows drop"
_MARKUP = ("<|im_start|>", "<|start_header_id|>", "<start_of_turn>", "[INST]", "<|user|>")
"""What widespread chat templates write before a turn."""


@dataclass(frozen=True)
class Checked:
    """Rows within the limits.

    Attributes:
        rows: The rows of a request.
        tokens: Number of tokens that the model reads of them.
        trimmed: Whether the prompt of each row loses its beginning.
    """

    rows: list[Row]
    tokens: int
    trimmed: list[bool]


class Reader:
    """Reads rows for a model.

    Args:
        ensemble: The model; its encoder is copied, because a tokenizer serves one thread.
        max_rows: Most responses in one request.
        too_long: What happens to rows beyond the limits of training.
    """

    def __init__(self, ensemble: Ensemble, max_rows: int, too_long: TooLong) -> None:
        self.ensemble, self.max_rows, self.too_long = ensemble, max_rows, too_long
        self.encoder = deepcopy(ensemble.encoder)

    def check(self, rows: list[Row]) -> Checked:
        """Count the rows' tokens and compare them with the limits.

        Raises:
            RefusedError: There are too many rows, or a row is too long.
            ModelError: The rows need rewards, and the model gives none.
        """
        self.check_count(sum(len(row.responses) for row in rows))
        for row in rows:
            require_rewards(self.ensemble, row)
        limits, encoder = self.encoder.template, self.encoder.remembering()
        room = shared_positions(self.ensemble.members[0].model.network)
        prompts = list(dict.fromkeys(row.prompt for row in rows))
        trims = dict(zip(prompts, encoder.trims(prompts), strict=True))
        lengths = dict(zip(prompts, map(len, encoder.prompts(prompts)), strict=True))
        tokens, trimmed = 0, []
        for row in rows:
            responses = [length + 1 for length in encoder.response_lengths(row.responses)]
            prompt, longest = lengths[row.prompt], self._beside(row, responses)
            trimmed.append(trims[row.prompt] or (room is not None and prompt + longest > room))
            if self.too_long == "refuse":
                _refuse_long(row, max(responses) - 1, limits.max_response_tokens, trimmed[-1])
            tokens += prompt + sum(responses)
        return Checked(rows, tokens, trimmed)

    def check_count(self, count: int) -> None:
        """Refuse more responses than a request may have.

        Raises:
            RefusedError: There are too many.
        """
        if count > self.max_rows:
            raise RefusedError(
                f"{count:,} responses in one request, at most {self.max_rows:,} are read; send "
                "several requests, or start the server with a larger --max-rows",
                413,
            )

    def dialogue(self, value: object, where: str) -> Row:
        """Return the row of a dialogue that ends with the response.

        Args:
            value: Messages, or a text in the form of Anthropic's HH.
            where: Place in the request.

        Raises:
            RefusedError: It is a text of another form, in which nothing tells where the response
                begins.
            DataError: It cannot be read, or does not end with the assistant's turn.
        """
        if isinstance(value, str):
            value = self._without_end(value)
            if rendered := self._rendered(value, where):
                return _row(normalised(rendered[0]), clean(rendered[1]), where)
        turns = turns_of(value, "dialogue", where)
        if isinstance(turns, str):
            raise RefusedError(
                f"{where}: nothing tells where the response begins in {show(turns)}; send "
                "messages, a dialogue whose turns begin with Human: and Assistant: after an empty "
                "line, or prompt and response apart (/score, /rewards)"
            )
        context, response = join_response(None, turns, "dialogue", where)
        return _row(context, response, where)

    def query(self, query: str, prompt: str, where: str) -> Row:
        """Return the row of a text that begins with its prompt.

        The tokens that begin a text and end a response may stand at its edges, as OpenRLHF sends
        them.

        Raises:
            RefusedError: The text does not begin with the prompt, or holds other special tokens.
            DataError: The prompt cannot be read.
        """
        begin = self.encoder.tokenizer.bos_token
        if begin and not prompt.startswith(begin):
            query = query.removeprefix(begin)
        if not query.startswith(prompt):
            raise RefusedError(
                f"{where}: {show(query)} does not begin with its prompt {show(prompt)}, so nothing "
                "tells where the response begins"
            )
        response = self._without_end(query[len(prompt) :])
        if rendered := self._rendered(prompt, where):
            messages, begun = rendered
            return _row(normalised(messages), clean(begun + response), where)
        return row_of(prompt, response, where)

    def _without_end(self, text: str) -> str:
        """Return a text without the tokens that end a turn, a text and its padding."""
        ids = [self.encoder.eos_id, self.encoder.pad_id, self.encoder.tokenizer.eos_token_id]
        ends = self.encoder.tokenizer.convert_ids_to_tokens(ids)
        while end := next((token for token in ends if text.rstrip().endswith(token)), ""):
            text = text.rstrip().removesuffix(end)
        return text

    def _rendered(self, text: str, where: str) -> tuple[list[Message], str] | None:
        """Split a text that the model's chat template rendered; None if no template rendered it.

        Raises:
            RefusedError: Another template rendered it, so that nothing tells its turns.
        """
        chat, tokenizer = self.encoder.chat, self.encoder.tokenizer
        if chat and (split := chat.dialogue(text)):
            return split
        for mark in (*tokenizer.all_special_tokens, *_MARKUP):
            if mark in text:
                raise RefusedError(
                    f"{where}: the text holds {mark}, so a chat template rendered it, and not the "
                    "one of this model in full; send messages (/classify, /rewards), or the prompt "
                    "without a template"
                )
        return None

    def _beside(self, row: Row, responses: Sequence[int]) -> int:
        """Return the most tokens that the model reads beside the prompt in one row."""
        if row.form != "pair":
            return max(responses)
        first, second = ([0] * length for length in responses)
        return max(map(len, self.ensemble.comparator.rows(first, second)))


def _refuse_long(row: Row, longest: int, limit: int, is_trimmed: bool) -> None:
    """Refuse a row that the model was not trained for.

    Raises:
        RefusedError: The response is beyond the limit, or the prompt would lose its beginning.
    """
    mend = "shorten it, or start the server with --too-long score"
    if longest > limit:
        raise RefusedError(
            f"{row.place}: a response has {longest:,} tokens, the model was trained on up to "
            f"{limit:,}; {mend}"
        )
    if is_trimmed:
        raise RefusedError(
            f"{row.place}: the prompt is longer than the model reads, so it would lose its "
            f"beginning; {mend}"
        )


def rows_of(values: Sequence[Mapping[str, Any]], name: str) -> list[Row]:
    """Read rows in any form that `score` reads; the rows of a request have one form.

    Args:
        values: Rows, at least one.
        name: Name of their list in the request.

    Raises:
        DataError: See `read_rows`.
    """
    lines = [JsonLine(f"{name}[{index}]", "", dict(value)) for index, value in enumerate(values)]
    try:
        return list(read_rows(lines, name, given=Columns(), head=HEAD))
    except DataError as error:
        raise DataError(str(error).removesuffix(_ADVICE)) from None


def row_of(prompt: str, response: str, where: str) -> Row:
    """Return the row of a prompt and a response that come apart.

    The prompt is read as `score` reads it: a text, or a dialogue. The response is what a policy
    wrote and is taken as it is, without white space at its edges.

    Raises:
        DataError: The prompt cannot be read.
    """
    return _row(turns_of(prompt, "prompt", where), clean(response), where)


def _row(context: Turns, response: str, where: str) -> Row:
    prompt = text_of(context, where)
    if prompt is None:
        raise RefusedError(f"{where}: the prompt has an empty turn: mend or remove the row")
    return Row(where, {}, "", "response", prompt, [response])
