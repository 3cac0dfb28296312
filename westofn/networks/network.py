"""The interface of all model families: K responses per prompt.

A network reads P prompts once (`prompt_states`) and then K responses to each. It runs a
transformers model and has no weights of its own, so configuration, weights and files are those of
transformers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Generic, Protocol, Self, TypeVar

from torch import Tensor, nn
from transformers import PreTrainedModel

from westofn.errors import ModelError
from westofn.params.network import Readout
from westofn.text.encoding import Padded
from westofn.text.model_files import Family

_HEADS = ("num_heads", "num_attention_heads", "n_head", "n_heads")
_AT_ONCE = 5
"""Tensors as wide as the widest layer that exist at a time, at most, in a pass."""


class States(Protocol):
    """A network's states of P prompts."""

    def select(self, rows: Tensor) -> Self:
        """Return the states of the prompts at the given rows."""


class GeneratingStates(States, Protocol):
    """States from which responses can be generated."""

    @property
    def start(self) -> Tensor:
        """Token that precedes the first response token, (P,) long."""


class Cache(Protocol):
    """Keys and values of the tokens that P·K rows have read; `Generator.step` extends it."""

    def keep(self, prompt_rows: Tensor, rows: Tensor) -> None:
        """Drop finished rows: keep the given prompts and the given ones of the P·K rows."""


S = TypeVar("S", bound=States)
G = TypeVar("G", bound=GeneratingStates)
C = TypeVar("C", bound=Cache)


class Network(ABC, Generic[S]):
    """A transformers model that computes states of responses given their prompts.

    Attributes:
        family: Kind of transformer.
        model: The transformers model.
        max_tokens: Largest number of tokens in a row that the position table allows; None: no
            table.
    """

    family: Family
    model: PreTrainedModel
    max_tokens: int | None = None

    @property
    @abstractmethod
    def width(self) -> int:
        """Width d of a state."""

    @property
    def vocabulary(self) -> int:
        """Number V of tokens with an embedding."""
        embedding: Any = self.model.get_input_embeddings()
        return int(embedding.weight.shape[0])

    @property
    def made_for(self) -> int | None:
        """Largest number of tokens in a row by the configuration; None: no limit."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        return None if limit is None else int(limit)

    @property
    def heads(self) -> int:
        """Number of attention heads."""
        config: Any = self.model.config
        return next(int(config.to_dict()[name]) for name in _HEADS if hasattr(config, name))

    @abstractmethod
    def read_bytes(self, prompts: int, prompt: int, rows: int, response: int) -> int:
        """Return about how much memory a pass without gradient takes beyond the weights.

        Args:
            prompts: Number P of prompts.
            prompt: Length S of a prompt, in tokens.
            rows: Number K of responses to each.
            response: Length T of a response, in tokens.
        """

    @cached_property
    def token_bytes(self) -> int:
        """About the memory that one layer takes for a token, without attention."""
        head: Any = self.model.get_output_embeddings()
        widest = max(
            sum(weight.shape)
            for layer in self.model.modules()
            if layer is not head and not isinstance(layer, nn.Embedding)
            for weight in [getattr(layer, "weight", None)]
            if isinstance(weight, Tensor) and weight.ndim == 2
        )
        return int(widest * _AT_ONCE * self.model.dtype.itemsize)

    def score_bytes(self, rows: int, tokens: int) -> int:
        """Return the memory of the attention scores of one layer; fused attention keeps none."""
        config: Any = self.model.config
        if config._attn_implementation != "eager":
            return 0
        return int(rows * self.heads * tokens**2 * _AT_ONCE * self.model.dtype.itemsize)

    def require_positions(self, tokens: int, subject: str, mend: str) -> None:
        """Refuse a row that is longer than the position table.

        Args:
            tokens: Number of tokens in the row.
            subject: Beginning of the error message, such as "a prompt has 7 tokens".
            mend: End of the error message with the remedy, including its leading separator.

        Raises:
            ModelError: The row is too long.
        """
        if self.max_tokens is not None and tokens > self.max_tokens:
            raise ModelError(
                f"{subject}, this {self.model.config.model_type} has positions for "
                f"{self.max_tokens}{mend}"
            )

    def freeze_unread(self, readout: Readout) -> None:
        """Freeze the weights that do not influence rewards."""
        freeze_vocabulary_projection(self.model)

    @property
    def fresh(self) -> frozenset[str]:
        """Names of weights that a pretrained model can lack; LoRA trains them without adapters."""
        return frozenset()

    @abstractmethod
    def prompt_states(self, ids: Tensor, mask: Tensor) -> S:
        """Compute the states of prompts.

        Args:
            ids: (P, S) long, right-padded token ids.
            mask: (P, S) bool, True at real tokens.
        """

    @abstractmethod
    def read_out(self, states: S, responses: Padded, readout: Readout) -> Tensor:
        """Compute one state for every response, the input of a reward head.

        Args:
            states: States of P prompts.
            responses: (P, K, T), right-padded token ids with the end token, and their mask.
            readout: `mean` over the response's tokens, or the `last` token. See `EncoderNetwork`
                for encoder-only models.

        Returns:
            (P, K, d), states.
        """


class Generator(Network[G], Generic[G, C]):
    """A network that reads from left to right, so that it can also generate responses."""

    @abstractmethod
    def hidden(self, states: G, responses: Tensor) -> Tensor:
        """Compute the states of complete responses (teacher forcing).

        Args:
            states: States of P prompts.
            responses: (P, K, T), right-padded token ids.

        Returns:
            (P, K, T + 1, d), states; position t depends on y_1 … y_t and predicts y_{t+1}.
        """

    def tokens_read(self, prompts: int, prompt: int, rows: int, response: int) -> int:
        """Return how many tokens a forward pass over responses has states of, padding included.

        Args:
            prompts: Number P of prompts.
            prompt: Length S of a prompt, in tokens.
            rows: Number K of responses to each.
            response: Length T of a response, in tokens.
        """
        return prompts * (prompt + rows * response)

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Compute vocabulary logits (…, V) of states (…, d)."""

    @abstractmethod
    def cache(self, states: G, per_prompt: int, max_length: int) -> C:
        """Return an empty cache for K rows per prompt and at most `max_length` steps."""

    @abstractmethod
    def cache_bytes(self, prompt: int, rows: int, response: int) -> int:
        """Return the size of the keys and values of one prompt and its rows in sampling.

        Args:
            prompt: Length S of the prompt, in tokens.
            rows: Number K of responses.
            response: Length of a response, in tokens.
        """

    @abstractmethod
    def step(self, cache: C, tokens: Tensor) -> Tensor:
        """Read one more token for every live row.

        Args:
            cache: Cache of the rows; it is extended in place.
            tokens: (P, K), the tokens to read; in the first step `states.start`.

        Returns:
            (P, K, d) states, whose `logits` are of the next token.
        """

    def read_bytes(self, prompts: int, prompt: int, rows: int, response: int) -> int:
        """See `Network.read_bytes`; the prompts' keys and values are kept."""
        kept = prompts * self.cache_bytes(prompt, 0, 0)
        layer = prompts * max(prompt, rows * (response + 1)) * self.token_bytes
        return kept + layer + self.score_bytes(prompts, prompt)

    def read_out(self, states: G, responses: Padded, readout: Readout) -> Tensor:
        """See `Network.read_out`; state t depends on y_1 … y_t."""
        hidden = self.hidden(states, responses.ids).float()
        if readout == "mean":
            weight = responses.mask.unsqueeze(-1).to(hidden.dtype)
            return (hidden[:, :, 1:] * weight).sum(2) / weight.sum(2)
        last = responses.mask.sum(-1)
        index = last[..., None, None].expand(*last.shape, 1, hidden.shape[-1])
        return hidden.gather(2, index).squeeze(2)


AnyNetwork = Network[Any]
AnyGenerator = Generator[Any, Any]


def freeze_vocabulary_projection(model: PreTrainedModel) -> None:
    """Freeze the projection to the vocabulary, unless it shares its weight with the embedding."""
    projection: Any = model.get_output_embeddings()
    embedding: Any = model.get_input_embeddings()
    if projection is not None and projection.weight is not embedding.weight:
        projection.requires_grad_(False)
