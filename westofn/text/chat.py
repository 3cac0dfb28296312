"""Prompts in the chat template of an instruct model, trimmed from the left.

For every sequence of roles, the template is rendered once with placeholders instead of messages.
This tells the characters of the template from the characters of messages. Special tokens in a
message stay plain text, and trimming removes the oldest words of messages but no template tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerFast

from westofn.core.dialogue import Message, Role, to_messages
from westofn.errors import ModelError
from westofn.text.model_files import no_chat_template

# Variables of some templates. The date is Llama 3's default, because token ids must not depend on
# the current date. Responses contain no thinking.
VARIABLES: dict[str, Any] = {"date_string": "26 Jul 2024", "enable_thinking": False}
MOST_TURNS = 64
"""Most turns of a user in a rendered dialogue that is split again."""
_BETWEEN = "\n\n"  # separator of merged messages


@dataclass(frozen=True)
class _Read:
    """A rendered and tokenized dialogue.

    Attributes:
        ids: Token ids.
        starts: Start of each token in the text.
        spans: Start and end of each message in the text.
    """

    ids: list[int]
    starts: list[int]
    spans: list[tuple[int, int]]


class ChatTemplate:
    """The chat template of a tokenizer.

    Args:
        tokenizer: Tokenizer of the model.
        max_tokens: Largest number of tokens in a prompt.
        key: Name of the parameter in error messages.

    Attributes:
        end: Id of the token that ends an assistant turn.
        digest: Hash of the template, 16 hexadecimal digits.
        control: Ids of control tokens (special, or part of the template); in messages they are
            text.
        shortest: Number of tokens of an empty prompt.

    Raises:
        ModelError: The tokenizer has no template, or the template is not supported.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, max_tokens: int, key: str = "sft.model"
    ) -> None:
        if not tokenizer.chat_template:
            raise no_chat_template(key)
        self.tokenizer, self.max_tokens, self.key = tokenizer, max_tokens, key
        self.source = tokenizer.get_chat_template()
        if "strftime_now" in self.source and "date_string" not in self.source:
            raise ModelError(
                "the model's chat template writes today's date, so that equal runs would differ; "
                f"replace strftime_now(…) by a fixed date in the template beside {key}"
            )
        self._frames: dict[tuple[tuple[Role, ...], bool], tuple[str, ...]] = {}
        self.control = frozenset(
            index
            for index, token in tokenizer.added_tokens_decoder.items()
            if token.special or (token.content in self.source and not token.content.isspace())
        )
        self._knows_system = self._takes_system()
        self.end = self._end_of_turn()
        written = (self.source, self._frame(("user", "assistant")), self._knows_system, self.end)
        self.digest = hashlib.blake2b(repr(written).encode(), digest_size=8).hexdigest()
        self.shortest = len(self._read([[Message("user", "")]])[0].ids)
        if self.shortest >= max_tokens:
            raise ModelError(
                f"the model's chat template has {self.shortest} tokens around an empty prompt, "
                f"sft.max_prompt_tokens is {max_tokens}; raise it"
            )

    def prompts(self, texts: Sequence[str], at_most: int | None = None) -> list[list[int]]:
        """Return the ids of each prompt, with the generation prompt of the assistant.

        Args:
            texts: Dialogues in the format of `core.dialogue`, or plain texts (one user message).
            at_most: Largest number of tokens in a prompt, at least `shortest`; None: `max_tokens`.
        """
        limit = self.max_tokens if at_most is None else at_most
        rows = [self._turns(to_messages(text)) for text in texts]
        return [self._fitted(*pair, limit) for pair in zip(rows, self._read(rows), strict=True)]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each prompt before it is trimmed."""
        return [len(read.ids) for read in self._read([self._turns(to_messages(t)) for t in texts])]

    def dialogue(self, text: str) -> tuple[list[Message], str] | None:
        """Split a text that this template rendered, up to the response of the assistant.

        Args:
            text: A dialogue with the generation prompt, and the response, which may be empty.

        Returns:
            The messages before the response, and the response; None if the text is no such
            dialogue, or if its parts hold control tokens, so that more than one dialogue could be
            meant.
        """
        tokens = self.tokenizer.convert_ids_to_tokens(sorted(self.control))
        turns = min(MOST_TURNS, max(map(text.count, tokens), default=0))
        for count in range(turns):
            roles: tuple[Role, ...] = ("user", *(("assistant", "user") * count))
            for system in ((), ("system",)) if self._knows_system else ((),):
                parts = _parts(text, self._frame((*system, *roles)), tokens)
                if parts is not None:
                    *contents, response = parts
                    pairs = zip((*system, *roles), contents, strict=True)
                    return [Message(role, content) for role, content in pairs], response
        return None

    def _fitted(self, messages: list[Message], read: _Read, at_most: int) -> list[int]:
        """Trim the dialogue from the left until it fits; return its ids."""
        while len(read.ids) > at_most:
            # Trimming can change the tokens of the rest, so it is repeated until the dialogue fits.
            messages = _shorter(messages, read, len(read.ids) - at_most)
            read = self._read([messages])[0]
        return read.ids

    def _turns(self, messages: Sequence[Message]) -> list[Message]:
        """Convert the dialogue to alternating turns that begin and end with the user."""
        turns: list[Message] = []
        for message in messages:
            # Templates strip messages, but they see placeholders, so strip here.
            role, content = message.role, message.content.strip()
            if role == "system" and (turns or not self._knows_system):
                role = "user"
            if role == "assistant" and (not turns or turns[-1].role == "system"):
                turns.append(Message("user", ""))
            if turns and turns[-1].role == role:
                merged = f"{turns[-1].content}{_BETWEEN}{content}"
                turns[-1] = replace(turns[-1], content=merged)
            else:
                turns.append(Message(role, content))
        if not turns or turns[-1].role != "user":
            turns.append(Message("user", ""))
        return turns

    def _read(self, rows: Sequence[Sequence[Message]]) -> list[_Read]:
        """Tokenize complete dialogues; control tokens in messages become text."""
        if not rows:
            return []
        texts, spans = [], []
        for messages in rows:
            frame = self._frame(tuple(message.role for message in messages))
            contents = [message.content for message in messages]
            pieces = [part for pair in zip(frame, [*contents, ""], strict=True) for part in pair]
            ends = [0]
            for piece in pieces:
                ends.append(ends[-1] + len(piece))
            texts.append("".join(pieces))
            spans.append(list(pairwise(ends))[1:-1:2])
        encoded = self.tokenizer(
            texts,
            add_special_tokens=False,
            split_special_tokens=False,
            return_offsets_mapping=True,
            verbose=False,
        )
        columns = zip(texts, encoded.input_ids, encoded.offset_mapping, spans, strict=True)
        return [self._plain(*column) for column in columns]

    def _plain(
        self,
        text: str,
        ids: Sequence[int],
        offsets: Sequence[tuple[int, int]],
        spans: list[tuple[int, int]],
    ) -> _Read:
        """Replace control tokens inside messages by the tokens of their text."""
        kept: list[int] = []
        starts: list[int] = []
        for index, (start, end) in zip(ids, offsets, strict=True):
            in_message = index in self.control and any(a <= start < b for a, b in spans)
            new_ids = self._spelt_out(text[start:end]) if in_message else [index]
            kept += new_ids
            starts += [start] * len(new_ids)
        return _Read(kept, starts, spans)

    def _spelt_out(self, text: str) -> list[int]:
        """Tokenize the name of a control token as plain text, without special-token matching."""
        backend = self.tokenizer.backend_tokenizer
        if backend.normalizer is not None:
            text = backend.normalizer.normalize_str(text)
        pieces = [text]
        if backend.pre_tokenizer is not None:
            pieces = [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
        return [token.id for piece in pieces for token in backend.model.tokenize(piece)]

    def _frame(self, roles: tuple[Role, ...], asks: bool = True) -> tuple[str, ...]:
        """Return the template's text before, between and after messages with these roles.

        Args:
            roles: Roles of the messages.
            asks: Whether to add the generation prompt of the assistant.
        """
        if (roles, asks) not in self._frames:
            self._frames[roles, asks] = self._rendered(roles, asks)
        return self._frames[roles, asks]

    def _rendered(self, roles: tuple[Role, ...], asks: bool) -> tuple[str, ...]:
        placeholders = [f"\ue000{index}\ue001" for index in range(len(roles))]
        try:
            rest = self.tokenizer.apply_chat_template(
                [
                    {"role": role, "content": placeholder}
                    for role, placeholder in zip(roles, placeholders, strict=True)
                ],
                tokenize=False,
                add_generation_prompt=asks,
                **VARIABLES,
            )
        except (TemplateError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ModelError(
                f"the model's chat template does not support turns of {', '.join(roles)}: "
                f"{reason}; set sft.chat_template to none, or mend the template beside {self.key}"
            ) from None
        assert isinstance(rest, str)
        pieces = []
        for placeholder in placeholders:
            before, separator, rest = rest.partition(placeholder)
            if not separator or placeholder in rest:
                raise ModelError(
                    f"the model's chat template does not write each message of {', '.join(roles)} "
                    "once and in order; set sft.chat_template to none, or mend the template "
                    f"beside {self.key}"
                )
            pieces.append(before)
        return (*pieces, rest)

    def _takes_system(self) -> bool:
        """Return whether the template supports a first system message."""
        try:
            self._frame(("system", "user"))
            self._frame(("system", "user", "assistant", "user"))  # some move it to the last turn
        except ModelError:
            return False
        return True

    def _end_of_turn(self) -> int:
        """Return the token that the template writes after an assistant turn, or the end token."""
        after = self._frame(("user", "assistant"), asks=False)[-1]
        ids = self.tokenizer(
            after, add_special_tokens=False, split_special_tokens=False, verbose=False
        ).input_ids
        for index in ids:
            token = self.tokenizer.added_tokens_decoder.get(index)
            if token is not None and not token.content.isspace():
                if not token.special:
                    raise ModelError(
                        f"the chat template ends a turn with {token.content!r}, which is not a "
                        "special token of the tokenizer, so a text could contain it; mark it as "
                        f"special in the tokenizer.json beside {self.key}"
                    )
                return int(index)
            if str(self.tokenizer.decode([index])).strip():
                break
        return int(self.tokenizer.eos_token_id)


def _parts(text: str, frame: Sequence[str], tokens: Sequence[str]) -> list[str] | None:
    """Return what stands between and after the pieces of a frame; None if they are not there.

    Every piece has a control token and no part has any of those, so there is one way to split the
    text.
    """
    first, *pieces = frame
    marks = [token for token in tokens if any(token in piece for piece in frame)]
    if not text.startswith(first) or not all(any(m in piece for m in marks) for piece in frame):
        return None
    parts, rest = [], text.removeprefix(first)
    for piece in pieces:
        content, separator, rest = rest.partition(piece)
        if not separator:
            return None
        parts.append(content)
    parts.append(rest)
    return None if any(mark in part for part in parts for mark in marks) else parts


def _shorter(messages: list[Message], read: _Read, excess: int) -> list[Message]:
    """Remove about `excess` of the dialogue's oldest tokens; the system message is removed last."""
    oldest = 1 if messages[0].role == "system" else 0
    begin, end = read.spans[oldest]
    token_starts = [start for start in read.starts if begin <= start < end]
    later = [i for i, m in enumerate(messages) if i > oldest and m.role == "user"]
    if excess < len(token_starts):
        # At least one character is removed each time; characters are not split.
        cut = next((start for start in token_starts[excess:] if start > begin), end)
        remainder = messages[oldest].content[cut - begin :].strip()
        return [
            *messages[:oldest],
            replace(messages[oldest], content=remainder),
            *messages[oldest + 1 :],
        ]
    if later:
        return [*messages[:oldest], *messages[later[0] :]]
    if oldest:
        return messages[1:]
    return [replace(messages[0], content="")]
