"""Outputs to export, and a tiny causal model in the hub's format, as a user of TRL has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tests.exporting.run import write_run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "out.md"
CHAT = (
    "{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}"
    "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="session")
def causal(spelling: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Llama with two layers of width 16, and its tokenizer with a chat template."""
    folder = tmp_path_factory.mktemp("causal") / "llama"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(spelling),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        pad_token_id=spelling.pad_token_id,
        eos_token_id=spelling.eos_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    spelling.save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_run(tmp_path / "data")


def snippet(trainer: str, changes: dict[str, str]) -> str:
    """The block of docs/out.md that uses this trainer, with texts replaced."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if f"{trainer}(" in block]
    for text, new in changes.items():
        assert block.count(text) == 1, f"{text} in the block of {trainer}"
        block = block.replace(text, new)
    return str(block)
