"""The memory that a pass over responses takes is what its network says beforehand."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from tests.small_families import tiny_model
from tests.tiny_encoders import encoder_config
from westofn.networks.families import network_of
from westofn.text.encoding import Encoder, Padded

_WIDE = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 4}
_ROPE = _WIDE | {"num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 128}
SIZES: dict[str, dict[str, Any]] = {
    "llama": _ROPE,
    "gemma2": _ROPE,
    "gpt2": {"n_embd": 64, "n_head": 4, "n_positions": 128},
    "t5": {"d_model": 64, "d_ff": 256, "num_heads": 4, "d_kv": 16},
    "bert": _WIDE,
    "deberta-v2": _WIDE | {"pooler_hidden_size": 64},
}
ENCODERS = ("bert", "deberta-v2")


class Peak(TorchDispatchMode):
    """Bytes of the tensors that exist at a time since it was entered, at most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: dict[int, int] = {}
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        self.bytes = max(self.bytes, sum(self.sizes.values()))
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        if (key := storage._cdata) not in self.sizes:
            self.sizes[key] = storage.nbytes()
            weakref.finalize(storage, self.sizes.pop, key)


def _model(model_type: str, encoder: Encoder) -> PreTrainedModel:
    if model_type not in ENCODERS:
        return tiny_model(model_type, encoder, **SIZES[model_type])
    config = encoder_config(model_type, 64, 0, **SIZES[model_type])
    auto: Any = AutoModelForSequenceClassification
    model: PreTrainedModel = auto.from_config(config).eval()
    return model


@pytest.mark.parametrize("shape", [(24, 40, 1, 24), (2, 24, 16, 40)], ids=["prompts", "rows"])
@pytest.mark.parametrize("model_type", SIZES)
@torch.inference_mode()
def test_a_pass_takes_the_memory_that_its_network_says(
    model_type: str, shape: tuple[int, int, int, int], small_encoder: Encoder
) -> None:
    network = network_of(_model(model_type, small_encoder))
    prompts, prompt, rows, response = shape
    ids, responses = torch.full((prompts, prompt), 5), torch.full((prompts, rows, response), 5)
    with Peak() as peak:
        states = network.prompt_states(ids, torch.ones_like(ids, dtype=torch.bool))
        answers = Padded(responses, torch.ones_like(responses, dtype=torch.bool))
        network.read_out(states, answers, "mean")
    estimated = network.read_bytes(*shape)
    assert estimated / 3 < peak.bytes < estimated
