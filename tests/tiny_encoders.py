"""Folders of tiny encoder-only models as they lie on the hub: weights, configuration, tokenizer.

Every type has the tokenizer of its kind: WordPiece for BERT, byte-level BPE for RoBERTa and
ModernBERT, a unigram model for DeBERTa.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    PretrainedConfig,
    PreTrainedModel,
    RobertaConfig,
)

from tests.small_models import texts
from westofn.networks.pretrained import load_pretrained
from westofn.text.encoding import Encoder

ENCODERS = ("bert", "deberta-v2", "distilbert", "electra", "modernbert", "roberta")
POSITIONS = 96
SIZE = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
CLASSES = {
    "bert": "BertTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "distilbert": "DistilBertTokenizer",
    "electra": "ElectraTokenizer",
    "modernbert": "PreTrainedTokenizerFast",
    "roberta": "RobertaTokenizer",
}


def encoder_config(kind: str, vocabulary: int, pad: int, **changes: Any) -> PretrainedConfig:
    """Two layers of width 16."""
    common = {
        "vocab_size": vocabulary,
        "pad_token_id": pad,
        "max_position_embeddings": POSITIONS,
        "num_labels": 1,
    }
    wide = {"hidden_size": 16, **SIZE, **common}
    made: dict[str, Callable[[], PretrainedConfig]] = {
        "bert": lambda: BertConfig(**(wide | changes)),
        # As deberta-v3-base has them.
        "deberta-v2": lambda: DebertaV2Config(
            **(
                wide
                | {
                    "relative_attention": True,
                    "position_buckets": 8,
                    "norm_rel_ebd": "layer_norm",
                    "share_att_key": True,
                    "pos_att_type": ["p2c", "c2p"],
                    "position_biased_input": False,
                    "type_vocab_size": 0,
                    "pooler_hidden_size": 16,
                }
                | changes
            )
        ),
        "distilbert": lambda: DistilBertConfig(
            **(common | {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32} | changes)
        ),
        "electra": lambda: ElectraConfig(**(wide | {"embedding_size": 8} | changes)),
        # A window that is shorter than the rows, in one of both layers.
        "modernbert": lambda: ModernBertConfig(
            **(
                wide
                | {
                    "local_attention": 4,
                    "layer_types": ["full_attention", "sliding_attention"],
                    "bos_token_id": 2,
                    "eos_token_id": 3,
                    "cls_token_id": 2,
                    "sep_token_id": 3,
                }
                | changes
            )
        ),
        # Two positions go to what stands before the first token.
        "roberta": lambda: RobertaConfig(
            **(
                wide
                | {"max_position_embeddings": POSITIONS + pad + 1, "type_vocab_size": 1}
                | changes
            )
        ),
    }
    return made[kind]()


def write_tokenizer(kind: str, folder: Path, corpus: Sequence[str] = ()) -> tuple[int, int]:
    """A tokenizer of the kind in the hub's format; its size, and the id of padding."""
    build = {"roberta": _roberta, "deberta-v2": _deberta, "modernbert": _modernbert}
    tokenizer, names = build.get(kind, _bert)([*texts(), *corpus])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": CLASSES[kind], **names, "clean_up_tokenization_spaces": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return tokenizer.get_vocab_size(), tokenizer.token_to_id(names["pad_token"])


def write_encoder(
    kind: str,
    folder: Path,
    *,
    seed: int = 0,
    headless: bool = False,
    corpus: Sequence[str] = (),
    **changes: Any,
) -> Path:
    """A whole folder.

    Args:
        kind: Its `model_type`.
        folder: Where to.
        seed: Of its weights.
        headless: As pretraining leaves it, with a masked language model's head.
        corpus: What its tokenizer learns beside the small vocabulary.
        changes: Of its configuration.
    """
    size, pad = write_tokenizer(kind, folder, corpus)
    torch.manual_seed(seed)
    config = encoder_config(kind, size, pad, **changes)
    auto: Any = AutoModelForMaskedLM if headless else AutoModelForSequenceClassification
    model: PreTrainedModel = auto.from_config(config)
    for weight in model.parameters():  # wide enough that every part of a row is seen in its score
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    return folder


def start_of(kind: str, folder: Path) -> tuple[PreTrainedModel, Encoder]:
    """A tiny model of this type in a new folder, read as a reward model's start."""
    return load_pretrained(
        str(write_encoder(kind, folder)),
        "reward_start.model",
        max_prompt_tokens=60,
        max_response_tokens=30,
    )


def _bert(corpus: list[str]) -> tuple[Tokenizer, dict[str, str]]:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([*corpus, "[ ] ! , sep cls pad </s>"], trainer)
    return _pair(tokenizer, "[CLS]", "[SEP]", "1"), _named(special)


def _deberta(corpus: list[str]) -> tuple[Tokenizer, dict[str, str]]:
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=special, unk_token="[UNK]", show_progress=False
    )
    tokenizer.train_from_iterator([*corpus, "[ ] ! , SEP CLS PAD </s>"], trainer)
    return _pair(tokenizer, "[CLS]", "[SEP]", "1"), _named(special)


def _modernbert(corpus: list[str]) -> tuple[Tokenizer, dict[str, str]]:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return _pair(_bytes(corpus, special, "[UNK]"), "[CLS]", "[SEP]", "0"), _named(special)


def _roberta(corpus: list[str]) -> tuple[Tokenizer, dict[str, str]]:
    tokenizer = _bytes(corpus, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<unk>")
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    return tokenizer, names | {
        "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>",
    }  # fmt: skip


def _bytes(corpus: list[str], special: list[str], unknown: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return tokenizer


def _pair(tokenizer: Tokenizer, start: str, end: str, second: str) -> Tokenizer:
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start} $A {end} $B:{second} {end}:{second}",
        special_tokens=[(start, tokenizer.token_to_id(start)), (end, tokenizer.token_to_id(end))],
    )
    return tokenizer


def _named(special: list[str]) -> dict[str, str]:
    roles = {"[PAD]": "pad", "[UNK]": "unk", "[CLS]": "cls", "[SEP]": "sep", "[MASK]": "mask"}
    return {f"{roles[token]}_token": token for token in special}
