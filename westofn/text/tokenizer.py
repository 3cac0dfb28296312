"""Tokenizers: training for models from scratch, loading for pretrained models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from westofn.errors import ModelError
from westofn.hub import is_local
from westofn.progress import track
from westofn.text.model_files import TOKENIZER_FILES, no_tokenizer

PAD, EOS, UNK = "<pad>", "</s>", "<unk>"
# A word includes the space before it, so that decoding restores the text exactly.
TEXTS_AT_ONCE = 4096
"""Texts that are tokenised between two looks of the progress bar."""
_WORD = r" ?\w+| ?[^\w\s]+|\s"


def train_tokenizer(
    texts: Iterable[str], kind: Literal["words", "bytes"], vocabulary: int
) -> PreTrainedTokenizerFast:
    """Train a tokenizer with ids 0, 1, 2 for padding, end and unknown.

    Args:
        texts: Training texts, prompts and responses.
        kind: `words` has one token per word (unknown words become `<unk>`); `bytes` is byte-level
            BPE, which can encode any text.
        vocabulary: Largest number of tokens, special tokens included.
    """
    trainer: trainers.Trainer
    if kind == "words":
        raw = Tokenizer(models.WordLevel(unk_token=UNK))
        raw.pre_tokenizer = pre_tokenizers.Split(Regex(_WORD), "isolated")
        raw.decoder = decoders.Fuse()
        trainer = trainers.WordLevelTrainer(
            vocab_size=vocabulary, special_tokens=[PAD, EOS, UNK], show_progress=False
        )
    else:
        raw = Tokenizer(models.BPE(unk_token=UNK))
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        raw.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[PAD, EOS, UNK],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    raw.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
        clean_up_tokenization_spaces=False,
    )


def load_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a model that this project saved.

    AutoTokenizer would rebuild it by the model's type, which corrupts tokenizers trained here.
    """
    if not (path / "tokenizer.json").is_file():
        raise ModelError(f"{path} has no tokenizer.json; rerun the stage that writes this model")
    try:
        tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(path)
    except Exception as error:  # the tokenizers library raises plain exceptions
        reason = str(error).split("\n")[0]
        raise ModelError(
            f"{path}: tokenizer.json cannot be read ({reason}); rerun the stage that writes this "
            "model"
        ) from None
    return tokenizer


def load_pretrained_tokenizer(name: str, key: str = "sft.model") -> PreTrainedTokenizerFast:
    """Load the tokenizer of a pretrained model with an end token.

    A tokenizer without padding token gets the end token for padding, which masks mark anyway.
    """
    tokenizer = load_fast_tokenizer(name, key)
    if tokenizer.eos_token is None:
        raise ModelError(
            f"{name}: the tokenizer has no eos_token, which ends a response; give {key} a "
            "folder whose tokenizer_config.json names one"
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_fast_tokenizer(name: str, key: str) -> PreTrainedTokenizerFast:
    """Load the tokenizer of a pretrained model, with any special tokens.

    Args:
        name: A folder, or a name on the hub.
        key: Name of the parameter in error messages.

    Raises:
        ModelError: The tokenizer cannot be found or read, or it is not a fast tokenizer.
    """
    local = is_local(name, key)
    folder = Path(name)
    if folder.is_dir() and not any((folder / file).is_file() for file in TOKENIZER_FILES):
        # transformers would create a vocabulary of about a hundred tokens.
        raise no_tokenizer(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, use_fast=True, local_files_only=local, trust_remote_code=False
        )
    except Exception as error:  # the tokenizers library raises plain exceptions
        reason = str(error).split("\n")[0]
        raise ModelError(
            f"tokenizer of {name!r} cannot be loaded: {reason}; give a folder with the model's "
            "tokenizer.json"
        ) from None
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise ModelError(f"{name}: tokenizer is {type(tokenizer).__name__}, needs a fast tokenizer")
    return tokenizer


def plain_ids(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    """Tokenize texts without special tokens; special tokens inside a text become plain text.

    A "</s>" in a text must not end a prompt. Most tokenizers split it with split_special_tokens. A
    unigram model (T5, DeBERTa) has special tokens among its pieces and still finds them.
    """
    if not texts:
        return []
    rows = _split_ids(tokenizer, texts)
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    with_special = [index for index, row in enumerate(rows) if not special.isdisjoint(row)]
    if not with_special:
        return rows
    # Cut the text after the first character of each special token and tokenize the parts, because a
    # piece cannot span two parts; the lookahead `(?=…)` also finds overlapping tokens.
    tokens = tokenizer.convert_ids_to_tokens(sorted(special))
    start = re.compile(f"(?={'|'.join(map(re.escape, tokens))})")
    for index in with_special:
        text = texts[index]
        cuts = [0, *(match.start() + 1 for match in start.finditer(text)), len(text)]
        parts = _split_ids(tokenizer, [text[a:b] for a, b in pairwise(cuts)])
        # A normaliser can produce special tokens from other characters; these are removed.
        rows[index] = [token for part in parts for token in part if token not in special]
    return rows


def _split_ids(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    starts: Iterable[int] = range(0, len(texts), TEXTS_AT_ONCE)
    if len(texts) > TEXTS_AT_ONCE:
        starts = track(starts, "tokenising", f"blocks of {TEXTS_AT_ONCE:,} texts")
    rows = []
    for start in starts:
        block = list(texts[start : start + TEXTS_AT_ONCE])
        ids = tokenizer(
            block, add_special_tokens=False, split_special_tokens=True, verbose=False
        ).input_ids
        rows += [list(row) for row in ids]
    return rows


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    """Save the tokenizer and check that the loaded tokenizer gives the same ids."""
    tokenizer.save_pretrained(path)
    probe = tokenizer.decode(list(range(min(len(tokenizer), 512))), skip_special_tokens=True)
    before = tokenizer(probe, add_special_tokens=False).input_ids
    after = load_tokenizer(path)(probe, add_special_tokens=False).input_ids
    if before != after:
        raise ModelError(f"{path}: the saved tokenizer gives other ids than the one in memory")
