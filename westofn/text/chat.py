"""Prompts in an instruct model's own chat template, cut from the left without breaking it.

The template is rendered with marks in place of the messages, once for every sequence of roles. So
it is known which characters are the template's and which are a message's: special tokens that
somebody typed stay text, and what is too long loses its oldest words but never a header.
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

# Variables that some templates read. The date is Llama 3's own default: today's would change ids
# overnight. Responses to be learnt hold no thoughts.
VARIABLES: dict[str, Any] = {"date_string": "26 Jul 2024", "enable_thinking": False}
_BETWEEN = "\n\n"  # of messages that become one


@dataclass(frozen=True)
class _Read:
    """A rendered dialogue.

    Attributes:
        ids: Token ids.
        starts: Where each token begins in the text.
        spans: Where each message begins and ends in the text.
    """

    ids: list[int]
    starts: list[int]
    spans: list[tuple[int, int]]


class ChatTemplate:
    """How one tokenizer writes dialogues.

    Args:
        tokenizer: The model's.
        max_tokens: Of a prompt.
        key: The parameter that a message says to mend.

    Attributes:
        end: The id that ends the assistant's turn.
        digest: Sixteen hex digits that differ between templates.
        control: Ids of tokens that a message cannot say: special, or written by the template.
        shortest: Tokens around an empty prompt.

    Raises:
        ModelError: There is no template, or it cannot be used: its message says why.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, max_tokens: int, key: str = "sft.model"
    ) -> None:
        if not tokenizer.chat_template:
            raise ModelError(
                "sft.chat_template is model, but the model's tokenizer has no chat template; set "
                f"sft.chat_template to none, or give {key} an instruct model"
            )
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
        """Ids of each prompt up to where the assistant speaks.

        Args:
            texts: Dialogues in the form of `core.dialogue`, or any text: a single user's message.
            at_most: Tokens of a prompt, no fewer than `shortest`; by default `max_tokens`.
        """
        limit = self.max_tokens if at_most is None else at_most
        rows = [self._turns(to_messages(text)) for text in texts]
        return [self._fitted(*pair, limit) for pair in zip(rows, self._read(rows), strict=True)]

    def _fitted(self, messages: list[Message], read: _Read, at_most: int) -> list[int]:
        """The ids of as much of the dialogue's end as fits."""
        while len(read.ids) > at_most:
            # Cutting can change how the rest is spelt, hence again until it fits.
            messages = _shorter(messages, read, len(read.ids) - at_most)
            read = self._read([messages])[0]
        return read.ids

    def _turns(self, messages: Sequence[Message]) -> list[Message]:
        """The dialogue as templates ask for it: the user is first, last, and every other."""
        turns: list[Message] = []
        for message in messages:
            # Templates trim what they are given, but not what a mark stands for.
            role, content = message.role, message.content.strip()
            if role == "system" and (turns or not self._knows_system):
                role = "user"
            if role == "assistant" and (not turns or turns[-1].role == "system"):
                turns.append(Message("user", ""))
            if turns and turns[-1].role == role:
                both = f"{turns[-1].content}{_BETWEEN}{content}"
                turns[-1] = replace(turns[-1], content=both)
            else:
                turns.append(Message(role, content))
        if not turns or turns[-1].role != "user":
            turns.append(Message("user", ""))
        return turns

    def _read(self, rows: Sequence[Sequence[Message]]) -> list[_Read]:
        """Token ids of whole dialogues; what a message spells is text."""
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
        """Spell out the control tokens that stand inside messages."""
        kept: list[int] = []
        starts: list[int] = []
        for index, (start, end) in zip(ids, offsets, strict=True):
            typed = index in self.control and any(a <= start < b for a, b in spans)
            some = self._spelt_out(text[start:end]) if typed else [index]
            kept += some
            starts += [start] * len(some)
        return _Read(kept, starts, spans)

    def _spelt_out(self, text: str) -> list[int]:
        """Ids of a control token's name as text; the tokenizer itself would find the token."""
        backend = self.tokenizer.backend_tokenizer
        if backend.normalizer is not None:
            text = backend.normalizer.normalize_str(text)
        pieces = [text]
        if backend.pre_tokenizer is not None:
            pieces = [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(text)]
        return [token.id for piece in pieces for token in backend.model.tokenize(piece)]

    def _frame(self, roles: tuple[Role, ...], asks: bool = True) -> tuple[str, ...]:
        """What the template writes before, between and after messages of these roles.

        Args:
            roles: Of the messages.
            asks: Whether the assistant is to speak next.
        """
        if (roles, asks) not in self._frames:
            self._frames[roles, asks] = self._rendered(roles, asks)
        return self._frames[roles, asks]

    def _rendered(self, roles: tuple[Role, ...], asks: bool) -> tuple[str, ...]:
        marks = [f"\ue000{index}\ue001" for index in range(len(roles))]
        try:
            rest = self.tokenizer.apply_chat_template(
                [{"role": role, "content": mark} for role, mark in zip(roles, marks, strict=True)],
                tokenize=False,
                add_generation_prompt=asks,
                **VARIABLES,
            )
        except (TemplateError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ModelError(
                f"the model's chat template cannot write turns of {', '.join(roles)}: {reason}; "
                f"set sft.chat_template to none, or mend the template beside {self.key}"
            ) from None
        assert isinstance(rest, str)
        pieces = []
        for mark in marks:
            before, found, rest = rest.partition(mark)
            if not found or mark in rest:
                raise ModelError(
                    f"the model's chat template does not write each message of {', '.join(roles)} "
                    "once and in order; set sft.chat_template to none, or mend the template "
                    f"beside {self.key}"
                )
            pieces.append(before)
        return (*pieces, rest)

    def _takes_system(self) -> bool:
        """Whether the template begins with a system message; else the user says it."""
        try:
            self._frame(("system", "user"))
            self._frame(("system", "user", "assistant", "user"))  # some put it before the last
        except ModelError:
            return False
        return True

    def _end_of_turn(self) -> int:
        """The token that the template writes after the assistant's words, or the end token."""
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
                        "special token of the tokenizer, so any text could hold it; mark it as "
                        f"special in the tokenizer.json beside {self.key}"
                    )
                return int(index)
            if str(self.tokenizer.decode([index])).strip():
                break
        return int(self.tokenizer.eos_token_id)


def _shorter(messages: list[Message], read: _Read, excess: int) -> list[Message]:
    """The dialogue without about `excess` of its oldest tokens; the system message goes last."""
    oldest = 1 if messages[0].role == "system" else 0
    begin, end = read.spans[oldest]
    inside = [start for start in read.starts if begin <= start < end]
    later = [i for i, m in enumerate(messages) if i > oldest and m.role == "user"]
    if excess < len(inside):
        # A character of several tokens goes as a whole, and something goes every time.
        cut = next((start for start in inside[excess:] if start > begin), end)
        left = messages[oldest].content[cut - begin :].strip()
        return [
            *messages[:oldest],
            replace(messages[oldest], content=left),
            *messages[oldest + 1 :],
        ]
    if later:
        return [*messages[:oldest], *messages[later[0] :]]
    if oldest:
        return messages[1:]
    return [replace(messages[0], content="")]
