"""The one function by which every stage turns (prompt, response) into token ids.

A prompt that is too long loses its beginning; a response is never cut, and its end token is part
of it. Which special tokens stand around both is the family's `Layout`, or the model's own chat
template (`chat`); special tokens that a text spells out stay plain text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import copy
from dataclasses import asdict, dataclass
from itertools import chain
from typing import Literal

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from westofn.errors import ModelError
from westofn.text.chat import ChatTemplate
from westofn.text.tokenizer import plain_ids

Family = Literal["encoder_decoder", "causal", "encoder"]
NO_CHAT = "none"
"""`Template.chat` of models that read prompts as they are."""


@dataclass(frozen=True)
class Layout:
    """The special tokens around a prompt and after a response.

    Attributes:
        before_prompt: Ids, kept when a prompt is trimmed.
        after_prompt: Ids.
        end: The id that ends a response.
    """

    before_prompt: tuple[int, ...]
    after_prompt: tuple[int, ...]
    end: int

    @classmethod
    def of_ends(cls, tokenizer: PreTrainedTokenizerFast) -> Layout:
        """[end] x [end] y [end], for encoder-only models from scratch.

        They read the policy's tokenizer, which puts too little around a pair of texts: T5's nothing
        before it, Llama's nothing behind it.
        """
        end = int(tokenizer.eos_token_id)
        return cls((end,), (end,), end)

    @property
    def name(self) -> str:
        """For cards: in `2 x | y 1`, id 2 stands before a prompt and 1 after a response."""
        prompt = " ".join([*map(str, self.before_prompt), "x", *map(str, self.after_prompt)])
        return f"{prompt} | y {self.end}"


def layout_of(tokenizer: PreTrainedTokenizerFast, family: Family) -> Layout:
    """What stands around the texts of a family of models.

    | family | prompt | response |
    |---|---|---|
    | encoder_decoder | [start] x end | y end |
    | causal | [start] x | y end |
    | encoder | [CLS] x [SEP] | y [SEP] |

    The start token is there if and only if the tokenizer itself puts one before a text.
    """
    if family == "encoder":
        return _encoder_only_layout(tokenizer)
    end = int(tokenizer.eos_token_id)
    after = (end,) if family == "encoder_decoder" else ()
    return Layout(_start_of(tokenizer), after, end)


def _start_of(tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    """The start token, where the tokenizer adds one; asked by use, as settings may lie."""
    start = tokenizer.bos_token_id
    first = tokenizer("a", verbose=False).input_ids[:1]
    return (int(start),) if start is not None and first == [start] else ()


def _encoder_only_layout(tokenizer: PreTrainedTokenizerFast) -> Layout:
    """What the tokenizer puts around a pair of texts: [CLS] x [SEP] y [SEP] for BERT.

    One that puts nothing there lends its end token to all places.

    Raises:
        ModelError: A pair has no place for one of them.
    """
    (text,) = tokenizer(["a"], add_special_tokens=False).input_ids
    (pair,) = tokenizer(["a"], ["a"]).input_ids
    if pair == [*text, *text] and tokenizer.eos_token_id is not None:
        return Layout.of_ends(tokenizer)
    size = len(text)
    places = [i for i in range(len(pair) - size + 1) if pair[i : i + size] == text]
    if size and len(places) == 2:
        first, second = places
        before, after = pair[:first], pair[first + size : second]
        if before and after and len(rest := pair[second + size :]) == 1:
            return Layout(tuple(before), tuple(after), int(rest[0]))
    raise ModelError(
        f"a pair of texts gets no special token before, between and behind them from the tokenizer "
        f"{type(tokenizer).__name__} ({pair}), an encoder-only model needs them; give a folder "
        "whose tokenizer.json has the model's post-processor"
    )


@dataclass(frozen=True)
class Template:
    """What must agree wherever a model is used; stored in its card and checked at load."""

    max_prompt_tokens: int
    max_response_tokens: int
    vocabulary: str
    family: Family
    layout: str
    chat: str = NO_CHAT
    trim: str = "prompt-left"
    version: int = 1

    def to_json(self) -> dict[str, int | str]:
        """The template as plain JSON."""
        return asdict(self)


class Encoder:
    """Token ids of prompts and responses for one tokenizer and one template.

    Args:
        tokenizer: The model's.
        max_prompt_tokens: Special ones included.
        max_response_tokens: The end token not counted.
        family: Of the model.
        chat: Whether prompts are written in the tokenizer's chat template.
        ends: Whether the tokenizer's end token stands in all places, see `Layout.of_ends`.
        key: The parameter that names the model, for messages.

    Raises:
        ModelError: The chat template cannot be used, or the family has none.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        max_prompt_tokens: int,
        max_response_tokens: int,
        family: Family = "encoder_decoder",
        chat: bool = False,
        ends: bool = False,
        key: str = "sft.model",
    ) -> None:
        self.tokenizer = tokenizer
        self.layout = Layout.of_ends(tokenizer) if ends else layout_of(tokenizer, family)
        self.chat: ChatTemplate | None = None
        if chat:
            if family != "causal":
                raise ModelError(
                    f"sft.chat_template is model, but the model is of family {family}; only "
                    "causal models have chat templates: set sft.chat_template to none"
                )
            self.chat = ChatTemplate(tokenizer, max_prompt_tokens, key)
            self.layout = Layout((), (), self.chat.end)  # the template writes its own start token
        self.pad_id = int(tokenizer.pad_token_id)
        self.eos_id = self.layout.end
        self._known: dict[str, list[int]] | None = None
        self.template = Template(
            max_prompt_tokens,
            max_response_tokens,
            vocabulary_digest(tokenizer),
            family,
            self.layout.name,
            self.chat.digest if self.chat else NO_CHAT,
        )

    @property
    def max_tokens(self) -> int:
        """Of the longest row: a prompt and, for the joint comparator, two responses."""
        return self.template.max_prompt_tokens + 2 * (self.template.max_response_tokens + 1)

    @property
    def shortest_prompt(self) -> int:
        """Tokens of a prompt of which no word is left."""
        if self.chat:
            return self.chat.shortest
        return max(1, len(self.layout.before_prompt) + len(self.layout.after_prompt))

    def prompts(self, texts: Sequence[str], at_most: int | None = None) -> list[list[int]]:
        """Ids of each prompt, trimmed left.

        A prompt without any token is read as the end token alone: something must stand before a
        response's first token, and the end token is what texts follow in pretraining.

        Args:
            texts: Prompts.
            at_most: Tokens with the special ones, from `shortest_prompt` to `max_prompt_tokens`,
                which it is by default.
        """
        if self.chat:
            return self.chat.prompts(texts, at_most)
        limit = self.template.max_prompt_tokens if at_most is None else at_most
        before, after = self.layout.before_prompt, self.layout.after_prompt
        keep = limit - len(before) - len(after)
        rows = [[*before, *ids[max(0, len(ids) - keep) :], *after] for ids in self._ids(texts)]
        return [row or [self.eos_id] for row in rows]

    def responses(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each response and the end token; never cut, see `fits`."""
        return [[*ids, self.eos_id] for ids in self._ids(texts)]

    def fits(self, texts: Sequence[str]) -> list[bool]:
        """Whether each response has at most `max_response_tokens` tokens (the end not counted)."""
        limit = self.template.max_response_tokens
        return [len(ids) <= limit for ids in self._ids(texts)]

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Texts of generated ids, without special tokens."""
        return list(
            self.tokenizer.batch_decode(
                [list(row) for row in rows],
                skip_special_tokens=True,
                clean_up_tokenization_spaces=False,  # it would move spaces before punctuation
            )
        )

    def remembering(self) -> Encoder:
        """This encoder, but it keeps the ids of the texts that it reads.

        For texts that are read again and again, such as validation pairs and test pools. Prompts in
        a chat template are not kept.
        """
        other = copy(self)
        other._known = {}
        return other

    def reads_like(self, other: Encoder) -> bool:
        """Whether both give equal ids for every text."""
        mine, its = self.tokenizer, other.tokenizer
        return (
            self.template == other.template
            and mine.all_special_ids == its.all_special_ids
            and mine.backend_tokenizer.to_str() == its.backend_tokenizer.to_str()
        )

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        known = self._known
        if known is None:
            return plain_ids(self.tokenizer, texts)
        new = list(dict.fromkeys(text for text in texts if text not in known))
        known |= zip(new, plain_ids(self.tokenizer, new), strict=True)
        return [known[text] for text in texts]


@dataclass(frozen=True)
class Padded:
    """Right-padded ids (…, L), long, and their mask (…, L), bool: True at real tokens."""

    ids: Tensor
    mask: Tensor


def pad(rows: Sequence[Sequence[int]], pad_id: int, length: int | None = None) -> Padded:
    """Right-pad rows to the longest of them, or to `length`."""
    lengths = torch.tensor(list(map(len, rows)))
    longest = int(lengths.max()) if length is None else length
    mask = torch.arange(longest) < lengths[:, None]
    ids = torch.full(mask.shape, pad_id, dtype=torch.long)
    ids[mask] = torch.tensor(list(chain.from_iterable(rows)), dtype=torch.long)
    return Padded(ids, mask)


def vocabulary_digest(tokenizer: PreTrainedTokenizerFast) -> str:
    """Sixteen hex digits that differ between tokenizers that give different ids."""
    digest = hashlib.blake2b(digest_size=8)
    for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        digest.update(f"{index}:{token}\n".encode())
    return digest.hexdigest()
