"""What every model family offers to policies, reward models and sampling: responses of a prompt.

A network reads P prompts once (`prompt_states`) and then K responses of each. It walks a
transformers model and holds no weights of its own, so configuration, weights and files stay
transformers'.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, Protocol, Self, TypeVar

from torch import Tensor
from transformers import PreTrainedModel

from westofn.errors import ModelError
from westofn.params.network import Readout
from westofn.text.encoding import Family, Padded


class States(Protocol):
    """What a network keeps of P prompts."""

    def select(self, rows: Tensor) -> Self:
        """The states of some of the prompts."""


class GeneratingStates(States, Protocol):
    """States that a response can be continued from."""

    @property
    def start(self) -> Tensor:
        """(P,) long: the token that is read before a response's first."""


class Cache(Protocol):
    """What P·K rows have read so far; `Generator.step` extends it."""

    def keep(self, prompt_rows: Tensor, rows: Tensor) -> None:
        """Drop finished rows: keep these prompts and these of the P·K rows, in this order."""


S = TypeVar("S", bound=States)
G = TypeVar("G", bound=GeneratingStates)
C = TypeVar("C", bound=Cache)


class Network(ABC, Generic[S]):
    """A transformers model that reads responses in the light of their prompts.

    Attributes:
        family: Which kind of transformer it is.
        model: The weights.
        max_tokens: The longest row that its table of positions allows; None: it has no table.
    """

    family: Family
    model: PreTrainedModel
    max_tokens: int | None = None

    @property
    @abstractmethod
    def width(self) -> int:
        """d, the size of a state."""

    @property
    def vocabulary(self) -> int:
        """V, the tokens that the model has embeddings for."""
        embedding: Any = self.model.get_input_embeddings()
        return int(embedding.weight.shape[0])

    @property
    def made_for(self) -> int | None:
        """The longest row by the configuration; None: relative positions, no limit."""
        limit = getattr(self.model.config, "max_position_embeddings", None)
        return None if limit is None else int(limit)

    def require_positions(self, tokens: int, said: str, mend: str) -> None:
        """Refuse a row that is longer than the table of positions.

        Args:
            tokens: Of the row.
            said: What a message says of it: "a prompt has 7 tokens".
            mend: How to mend it, with what joins it to the message.

        Raises:
            ModelError: It is longer.
        """
        if self.max_tokens is not None and tokens > self.max_tokens:
            raise ModelError(
                f"{said}, this {self.model.config.model_type} has positions for "
                f"{self.max_tokens}{mend}"
            )

    def freeze_unread(self, readout: Readout) -> None:
        """Keep weights that no reward reads out of training."""
        freeze_vocabulary_projection(self.model)

    @property
    def fresh(self) -> frozenset[str]:
        """Names of weights that a pretrained model may lack; LoRA trains them whole."""
        return frozenset()

    @abstractmethod
    def prompt_states(self, ids: Tensor, mask: Tensor) -> S:
        """Read the prompts.

        Args:
            ids: (P, S) long, right-padded.
            mask: (P, S) bool, True at real tokens.
        """

    @abstractmethod
    def read_out(self, states: S, responses: Padded, readout: Readout) -> Tensor:
        """One state for every response, which a reward head reads.

        Args:
            states: Of P prompts.
            responses: (P, K, T) ids that end with the end token, right-padded, and their mask.
            readout: `mean` over the response, or its `last` token; found by the mask alone.
                An encoder-only model has a meaning of its own for `last`.

        Returns:
            (P, K, d).
        """


class Generator(Network[G], Generic[G, C]):
    """A network that reads from left to right, so that it can be sampled too."""

    @abstractmethod
    def hidden(self, states: G, responses: Tensor) -> Tensor:
        """States of whole responses (teacher forcing).

        Args:
            states: Of P prompts.
            responses: (P, K, T) ids, right-padded.

        Returns:
            (P, K, T + 1, d); position t has read y_1 … y_t, so it predicts y_{t+1}.
        """

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """Vocabulary logits of states, (…, d) -> (…, V)."""

    @abstractmethod
    def cache(self, states: G, per_prompt: int, max_length: int) -> C:
        """The empty history of K rows a prompt, for at most `max_length` steps."""

    @abstractmethod
    def step(self, cache: C, tokens: Tensor) -> Tensor:
        """Read one token more for every live row.

        Args:
            cache: The rows' history; it is extended in place.
            tokens: (P, K) the tokens read at this step, first `states.start`.

        Returns:
            (P, K, V) logits of the next token.
        """

    def read_out(self, states: G, responses: Padded, readout: Readout) -> Tensor:
        """See `Network.read_out`; state t has read y_1 … y_t."""
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
    """Keep a projection that no reward reads out of training, unless it shares the embedding."""
    projection: Any = model.get_output_embeddings()
    embedding: Any = model.get_input_embeddings()
    if projection is not None and projection.weight is not embedding.weight:
        projection.requires_grad_(False)
