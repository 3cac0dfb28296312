"""Memory and time of reading pools with a large model: what features and rewards of them take.

    python -m benchmarks.bench_reading_memory models/smollm2

The pools are of random words, so that no data are needed: prompts of up to 96 tokens, and two
responses of 60 words to each.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.speed.memory import peak_mebibytes
from westofn.core.seeds import derive_seed
from westofn.models.features import FeatureReader
from westofn.networks.families import load_backbone, network_of
from westofn.text.encoding import Encoder
from westofn.text.tokenizer import load_pretrained_tokenizer

WORDS = 60
PROMPT_TOKENS, RESPONSE_TOKENS = 96, 192
_TEXT = Path(__file__).parents[1] / "docs/method.md"


def main(
    model: Annotated[Path, typer.Argument(help="a folder or hub name, as sft.model takes it")],
    prompts: Annotated[int, typer.Option(help="each with two responses")] = 120,
) -> None:
    """Print tokens, seconds of processor time, and peak memory before and after reading."""
    torch.set_num_threads(1)
    backbone = load_backbone(str(model)).eval()
    tokenizer = load_pretrained_tokenizer(str(model))
    family = network_of(backbone).family
    encoder = Encoder(tokenizer, PROMPT_TOKENS, RESPONSE_TOKENS, family)
    reader = FeatureReader(backbone, encoder, "mean")
    texts = [_words(number) for number in range(3 * prompts)]
    asked, pools = (
        texts[:prompts],
        list(zip(texts[prompts::2], texts[prompts + 1 :: 2], strict=True)),
    )
    reader.pools(asked[:1], pools[:1])  # weights come from the file when they are first used
    before, start = peak_mebibytes(), time.process_time()
    reader.pools(asked, pools)
    seconds = time.process_time() - start
    tokens = sum(map(len, encoder.prompts(asked)))
    tokens += sum(encoder.response_lengths([text for pool in pools for text in pool]))
    print(
        f"{prompts} prompts and {2 * prompts} responses, {tokens:,} tokens: {seconds:.0f} s, "
        f"peak {peak_mebibytes() - before:,} MiB beyond the {before:,} MiB of the loaded model"
    )


def _words(number: int) -> str:
    words = [word for word in _TEXT.read_text("utf-8").split() if word.isalpha()]
    chance = torch.Generator().manual_seed(derive_seed(0, "reading", number))
    chosen = torch.randint(len(words), (WORDS,), generator=chance)
    return " ".join(words[index] for index in chosen.tolist())


if __name__ == "__main__":
    typer.run(main)
