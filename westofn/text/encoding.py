"""Conversion of prompts and responses to token ids, used by every stage.

Prompts that are too long are trimmed from the left; responses are not trimmed and include the end
token. The family's `Layout` or the model's chat template (`chat`) defines the special tokens around
them. Special tokens inside a text are read as plain text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import asdict, dataclass
from itertools import chain

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from westofn.errors import ModelError
from westofn.text.chat import ChatTemplate
from westofn.text.model_files import Family as Family
from westofn.text.tokenizer import plain_ids

NO_CHAT = "none"
"""`Template.chat` of models without chat template."""


@dataclass(frozen=True)
class Layout:
    """The special tokens around a prompt and after a response.

    Attributes:
        before_prompt: Ids before the prompt; kept if the prompt is trimmed.
        after_prompt: Ids between prompt and response.
        end: Id of the token that ends a response.
        seam: Text between prompt and response: a space where both are one text and the tokenizer
            writes the space as a part of the word after it.
    """

    before_prompt: tuple[int, ...]
    after_prompt: tuple[int, ...]
    end: int
    seam: str = ""

    @classmethod
    def of_ends(cls, tokenizer: PreTrainedTokenizerFast) -> Layout:
        """Return [end] x [end] y [end], the layout of encoder-only models from scratch.

        They use the policy's tokenizer, which may not add tokens at all three places: T5's adds
        none before a pair of texts, Llama's none after it.
        """
        end = int(tokenizer.eos_token_id)
        return cls((end,), (end,), end)

    def after_seam(self, response: str) -> str:
        """Return a response with the text that parts it from the prompt; an empty one has none."""
        return f"{self.seam}{response}" if response else response

    @property
    def name(self) -> str:
        """Text for cards: in `2 x | y 1`, id 2 precedes a prompt x, id 1 follows a response y.

        `_y` stands for a response after a space.
        """
        prompt = " ".join([*map(str, self.before_prompt), "x", *map(str, self.after_prompt)])
        return f"{prompt} | {'_' * len(self.seam)}y {self.end}"


def layout_of(tokenizer: PreTrainedTokenizerFast, family: Family) -> Layout:
    """Return the layout of a family of models.

    | family | prompt | response |
    |---|---|---|
    | encoder_decoder | [start] x end | y end |
    | causal | [start] x | space y end |
    | encoder | [CLS] x [SEP] | y [SEP] |

    A causal model reads prompt and response as one text, in which a space parts them: after
    "Assistant:" the first token " Hello" is what it has learned, "Hello" is not. A tokenizer that
    puts a space before every text (Llama 2) needs none. The start token is present if and only if
    the tokenizer adds one before a text.
    """
    if family == "encoder":
        return _encoder_only_layout(tokenizer)
    end = int(tokenizer.eos_token_id)
    if family == "encoder_decoder":
        return Layout(_start_of(tokenizer), (end,), end)
    return Layout(_start_of(tokenizer), (), end, _seam_of(tokenizer))


def _seam_of(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return what must precede a text so that it continues another one, tested by use."""
    before, after, together = plain_ids(tokenizer, [":", "a", ": a"])
    return "" if before + after == together else " "


def _start_of(tokenizer: PreTrainedTokenizerFast) -> tuple[int, ...]:
    """Return the start token if the tokenizer adds one, tested by use, not by its settings."""
    start = tokenizer.bos_token_id
    first = tokenizer("a", verbose=False).input_ids[:1]
    return (int(start),) if start is not None and first == [start] else ()


def _encoder_only_layout(tokenizer: PreTrainedTokenizerFast) -> Layout:
    """Return the tokenizer's layout of a pair of texts: [CLS] x [SEP] y [SEP] for BERT.

    If the tokenizer adds no tokens, the end token is used at all places.

    Raises:
        ModelError: The tokenizer adds tokens at some places only.
    """
    (text,) = tokenizer(["a"], add_special_tokens=False).input_ids
    (pair,) = tokenizer(["a"], ["a"]).input_ids
    if pair == [*text, *text] and tokenizer.eos_token_id is not None:
        return Layout.of_ends(tokenizer)
    size = len(text)
    positions = [i for i in range(len(pair) - size + 1) if pair[i : i + size] == text]
    if size and len(positions) == 2:
        first, second = positions
        before, after = pair[:first], pair[first + size : second]
        if before and after and len(rest := pair[second + size :]) == 1:
            return Layout(tuple(before), tuple(after), int(rest[0]))
    raise ModelError(
        f"the tokenizer {type(tokenizer).__name__} does not put special tokens before, between and "
        f"after a pair of texts ({pair}), which an encoder-only model needs; give a folder "
        "whose tokenizer.json has the model's post-processor"
    )


@dataclass(frozen=True)
class Template:
    """Identity of an encoder; it is stored in the model's card and checked on load."""

    max_prompt_tokens: int
    max_response_tokens: int
    vocabulary: str
    family: Family
    layout: str
    chat: str = NO_CHAT
    trim: str = "prompt-left"
    version: int = 1

    def to_json(self) -> dict[str, int | str]:
        """Return the template as plain JSON."""
        return asdict(self)


class Encoder:
    """Converts prompts and responses to token ids for one tokenizer and one template.

    Args:
        tokenizer: Tokenizer of the model.
        max_prompt_tokens: Largest number of prompt tokens, special tokens included.
        max_response_tokens: Largest number of response tokens, without the end token.
        family: Family of the model.
        chat: Whether to use the tokenizer's chat template.
        ends: Whether to use the layout `Layout.of_ends`.
        key: Name of the parameter in error messages.

    Raises:
        ModelError: The chat template is not supported, or the family has none.
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
            self.layout = Layout((), (), self.chat.end)  # the template contains the start token
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
        """Largest number of tokens in a row: a prompt and two responses (joint comparator)."""
        return self.template.max_prompt_tokens + 2 * (self.template.max_response_tokens + 1)

    @property
    def shortest_prompt(self) -> int:
        """Number of tokens of an empty prompt."""
        if self.chat:
            return self.chat.shortest
        return max(1, len(self.layout.before_prompt) + len(self.layout.after_prompt))

    def prompts(self, texts: Sequence[str], at_most: int | None = None) -> list[list[int]]:
        """Return the ids of each prompt, trimmed from the left.

        A prompt without tokens becomes the end token: a token must precede a response, and in
        pretraining texts follow the end token.

        Args:
            texts: Texts of the prompts.
            at_most: Largest number of tokens, special tokens included, from `shortest_prompt` to
                `max_prompt_tokens`; None: `max_prompt_tokens`.
        """
        if self.chat:
            return self.chat.prompts(texts, at_most)
        limit = self.template.max_prompt_tokens if at_most is None else at_most
        before, after = self.layout.before_prompt, self.layout.after_prompt
        keep = limit - len(before) - len(after)
        rows = [[*before, *ids[max(0, len(ids) - keep) :], *after] for ids in self._ids(texts)]
        return [row or [self.eos_id] for row in rows]

    def responses(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each response with the end token; not trimmed, see `fits`."""
        return [[*ids, self.eos_id] for ids in self._response_ids(texts)]

    def response_lengths(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each response without the end token."""
        return list(map(len, self._response_ids(texts)))

    def fits(self, texts: Sequence[str]) -> list[bool]:
        """Return whether each response has at most `max_response_tokens` tokens without the end."""
        limit = self.template.max_response_tokens
        return [length <= limit for length in self.response_lengths(texts)]

    def trims(self, texts: Sequence[str]) -> list[bool]:
        """Return whether each prompt loses its beginning, as it exceeds `max_prompt_tokens`."""
        limit = self.template.max_prompt_tokens
        if self.chat:
            return [length > limit for length in self.chat.lengths(texts)]
        around = len(self.layout.before_prompt) + len(self.layout.after_prompt)
        return [len(ids) + around > limit for ids in self._ids(texts)]

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Convert generated ids to texts without special tokens and without the seam."""
        texts = self.tokenizer.batch_decode(
            [list(row) for row in rows],
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,  # would change spaces before punctuation
        )
        return [text.removeprefix(self.layout.seam) for text in texts]

    def remembering(self) -> Encoder:
        """Return a copy of this encoder that caches the ids of texts.

        Use it for texts that are encoded repeatedly, such as validation pairs and test pools.
        Prompts in a chat template are not cached.
        """
        other = copy(self)
        other._known = {}
        return other

    def reads_like(self, other: Encoder) -> bool:
        """Return whether both encoders give equal ids for every text."""
        tokenizer, other_tokenizer = self.tokenizer, other.tokenizer
        return (
            self.template == other.template
            and tokenizer.all_special_ids == other_tokenizer.all_special_ids
            and tokenizer.backend_tokenizer.to_str() == other_tokenizer.backend_tokenizer.to_str()
        )

    def _response_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of each response behind its seam; an empty response has none."""
        return self._ids(list(map(self.layout.after_seam, texts)))

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        known = self._known
        if known is None:
            return plain_ids(self.tokenizer, texts)
        new = list(dict.fromkeys(text for text in texts if text not in known))
        known |= zip(new, plain_ids(self.tokenizer, new), strict=True)
        return [known[text] for text in texts]


BLOCKS = 4
"""Number of blocks of a large pool, see `in_blocks`."""
LEAST_ROWS = 32
"""Rows of a block: fewer would take longer than their padding."""


@dataclass(frozen=True)
class Padded:
    """Right-padded token ids (…, L), long, and their mask (…, L), bool, True at real tokens."""

    ids: Tensor
    mask: Tensor

    def to(self, device: torch.device) -> Padded:
        """Return the rows on a device."""
        return Padded(self.ids.to(device), self.mask.to(device))


def pad(rows: Sequence[Sequence[int]], pad_id: int, length: int | None = None) -> Padded:
    """Right-pad rows to the longest row, or to `length`."""
    lengths = torch.tensor(list(map(len, rows)))
    longest = int(lengths.max()) if length is None else length
    mask = torch.arange(longest) < lengths[:, None]
    ids = torch.full(mask.shape, pad_id, dtype=torch.long)
    ids[mask] = torch.tensor(list(chain.from_iterable(rows)), dtype=torch.long)
    return Padded(ids, mask)


def block_rows(size: int, pools: int) -> int:
    """Return how many of a pool's rows are in one block, given the size of the largest pool."""
    return max(-(-size // BLOCKS), -(-LEAST_ROWS // pools))


def in_blocks(
    pools: Sequence[Sequence[Sequence[int]]], pad_id: int, step: int | None = None
) -> Iterator[Padded]:
    """Pad pools a block of columns at a time.

    A block is padded to its own longest row, so there is little padding where every pool begins
    with its short rows. A pool of fewer than K rows is filled with its own first row.

    Args:
        pools: P pools of at least one and at most K rows of token ids.
        pad_id: Padding.
        step: Rows of each pool in a block; None: `block_rows`.

    Yields:
        (P, k, T) rows of a block; the k add up to K.
    """
    size = max(map(len, pools))
    filled = [[*pool, *[pool[0]] * (size - len(pool))] for pool in pools]
    step = step or block_rows(size, len(pools))
    for start in range(0, size, step):
        rows = pad([row for pool in filled for row in pool[start : start + step]], pad_id)
        shape = (len(pools), -1, rows.ids.shape[-1])
        yield Padded(rows.ids.view(shape), rows.mask.view(shape))


def vocabulary_digest(tokenizer: PreTrainedTokenizerFast) -> str:
    """Return a hash of the tokenizer's vocabulary, 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for token, index in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]):
        digest.update(f"{index}:{token}\n".encode())
    return digest.hexdigest()
