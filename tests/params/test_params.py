"""params.yaml: what is right is read as meant, what is wrong is named with its key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from westofn.core.comparators import COMPARATORS
from westofn.core.selection import SELECTORS
from westofn.errors import ParameterError
from westofn.params.comparator import ComparatorName
from westofn.params.whole import Params, load_params
from westofn.params.won_select import SCORE_SELECTORS
from westofn.sources.columns import Columns

REPOSITORY = Path(__file__).parents[2] / "params.yaml"
MISSING = object()
# What the messages below quote, so that they hold whatever the repository's file is tuned to.
FIXED: dict[str, Any] = {
    "sft__scratch__width": 64,
    "base_rm__comparator": "embedding",
    "base_rm__members": 1,
    "won_select__method": "exact",
    "won_select__pessimism": 0.0,
    "won_select__selector": "west",
    "rlhf__algorithm": "ppo",
    "rlhf__steps": 60,
    "rlhf__batch_size": 64,
    "rlhf__samples_per_prompt": 4,
    "rlhf__minibatches": 2,
    "rlhf__value_warmup_steps": 10,
}
Change = Callable[..., Path]


@pytest.fixture
def changed(tmp_path: Path) -> Change:
    """The repository's file with keys set, or left out; returns its path."""

    def write(**changes: Any) -> Path:
        raw = YAML(typ="safe", pure=True).load(REPOSITORY.read_text(encoding="utf-8"))
        for dotted, value in (FIXED | changes).items():
            *sections, key = dotted.split("__")
            place = raw
            for section in sections:
                place = place.setdefault(section, {})
            if value is MISSING:
                del place[key]
            else:
                place[key] = value
        path = tmp_path / "params.yaml"
        with path.open("w", encoding="utf-8") as handle:
            YAML(typ="safe", pure=True).dump(raw, handle)
        return path

    return write


def _message(path: Path) -> str:
    with pytest.raises(ParameterError) as caught:
        load_params(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text.removeprefix(f"{path}: ")


def test_the_parameters_of_the_repository_are_valid() -> None:
    params = load_params(REPOSITORY)
    assert params.seed >= 0
    assert params.loop["k1"].prev == "k0"


# key (dots as __), a bad value, and the whole of what the message says about it
BAD: list[tuple[str, Any, str]] = [
    ("seed", -1, "seed is -1, needs greater than or equal to 0"),
    ("seed", 1.5, "seed is 1.5, needs a valid integer"),
    ("seed", True, "seed is True, needs a valid integer"),
    ("prepare__source", "hf", "prepare.source is 'hf', needs 'world', 'tldr', 'hh'"),
    ("prepare__path", 3, "prepare.path is 3, needs a valid string"),
    ("prepare__world__sft_examples", 19, "prepare.world.sft_examples is 19, needs greater than"),
    ("prepare__world__annotator_temperature", 0, "is 0, needs greater than 0"),
    ("sft__precision", "fp16", "sft.precision is 'fp16', needs 'fp32' or 'bf16'"),
    ("sft__lora__rank", -1, "sft.lora.rank is -1, needs greater than or equal to 0"),
    (
        "sft__lora__rank",
        8,
        "sft: lora.rank is 8 and model is scratch, whose random weights have to learn; give model "
        "a pretrained one, or set lora.rank to 0",
    ),
    ("base_rm__lora__alpha", 0, "base_rm.lora.alpha is 0, needs greater than 0"),
    ("student_rm__lora__dropout", 1.0, "student_rm.lora.dropout is 1.0, needs less than 1"),
    ("rlhf__lora__dropout", 0.1, "rlhf.lora.dropout is not a parameter"),
    (
        "prepare__files__test_fraction",
        0.5,
        "prepare.files.test_fraction is 0.5, needs less than 0.5",
    ),
    ("prepare__files__limit", -5, "prepare.files.limit is -5, needs greater than or equal to 0"),
    ("prepare__files__subset", "", "prepare.files.subset is '', needs"),
    ("sft__scratch__width", 12, "sft.scratch.width is 12, needs a multiple of 8"),
    ("sft__scratch__heads", 3, "sft.scratch: width 64 is not a multiple of heads 3"),
    ("sft__scratch__dropout", 1.0, "sft.scratch.dropout is 1.0, needs less than 1"),
    ("sft__scratch__tokenizer", "chars", "sft.scratch.tokenizer is 'chars', needs 'words' or"),
    ("sft__scratch__family", "rnn", "sft.scratch.family is 'rnn', needs 'encoder_decoder' or"),
    ("sft__chat_template", True, "sft.chat_template is True, needs 'none' or 'model'"),
    ("sft__chat_template", "model", "sft: chat_template is model, but a model from scratch has no"),
    (
        "sft__max_response_tokens",
        1,
        "sft.max_response_tokens is 1, needs greater than or equal to 2",
    ),
    ("sft__batch_size", 33, "sft.batch_size is 33, needs a multiple of 2"),
    ("sft__steps", 0, "sft.steps is 0, needs greater than or equal to 1"),
    ("sft__steps", "1000", "sft.steps is '1000', needs a valid integer"),
    ("sft__learning_rate", "fast", "sft.learning_rate is 'fast', needs a valid number"),
    ("sft__learning_rate", 0, "sft.learning_rate is 0, needs greater than 0"),
    ("sft__learning_rate", float("nan"), "sft.learning_rate is nan, needs a finite number"),
    ("sft__learning_rate", float("inf"), "sft.learning_rate is inf, needs a finite number"),
    ("sft__learning_rate", None, "sft.learning_rate is None, needs a valid number"),
    ("sft__learning_rate", [1e-5], "sft.learning_rate is [1e-05], needs a valid number"),
    ("base_rm__comparator", "elo", "base_rm.comparator is 'elo', needs 'embedding', 'joint' or"),
    ("base_rm__warmup_fraction", 1, "base_rm.warmup_fraction is 1, needs less than 1"),
    ("base_rm__weight_decay", -0.1, "base_rm.weight_decay is -0.1, needs greater than or equal"),
    ("sample__n_candidates", 1, "sample.n_candidates is 1, needs greater than or equal to 2"),
    ("sample__temperature", 0, "sample.temperature is 0, needs greater than 0"),
    ("won_select__method", "swiss", "won_select.method is 'swiss', needs 'exact' or 'tournament'"),
    ("filter__quantile", 1, "filter.quantile is 1, needs less than 1"),
    ("filter__likelihood_normalisation", "mean", "needs 'sum' or 'per_token'"),
    ("student_rm__synthetic_fraction", 1, "student_rm.synthetic_fraction is 1, needs less than 1"),
    ("student_rm__learner", "tree", "student_rm.learner is 'tree', needs 'network' or"),
    (
        "student_rm__covariance_power",
        "test",
        "student_rm.covariance_power: is 'test', needs validation or a number from 0 to 4",
    ),
    ("student_rm__covariance_power", -1, "student_rm.covariance_power: is -1, needs validation"),
    ("student_rm__covariance_power", 4.5, "student_rm.covariance_power: is 4.5, needs validation"),
    ("student_rm__covariance_power", True, "student_rm.covariance_power: is True, needs valid"),
    ("student_rm__covariance_power", [1], "student_rm.covariance_power: is [1], needs validation"),
    ("rlhf__algorithm", "dpo", "rlhf.algorithm is 'dpo', needs 'ppo' or 'rloo'"),
    ("rlhf__batch_size", 36, "rlhf: batch_size 36 is not a multiple of 8: minibatches 2 × samples"),
    ("rlhf__value_warmup_steps", 60, "rlhf: value_warmup_steps 60 of steps 60 leave none"),
    ("rlhf__gae_lambda", 1.1, "rlhf.gae_lambda is 1.1, needs less than or equal to 1"),
    ("rlhf__evaluations", 1, "rlhf.evaluations is 1, needs greater than or equal to 2"),
    ("sample", None, "sample is None, needs a valid dictionary"),
    ("loop", {}, "loop is empty; it needs at least `k1: {prev: k0}`"),
    ("loop", {"k0": {"prev": "k0"}}, "loop.k0 is not an iteration name; use k1, k2, …"),
    ("loop", {"k01": {"prev": "k0"}}, "loop.k01 is not an iteration name"),
    ("loop", {"k1": {"prev": "k7"}}, "loop.k1.prev is 'k7', which is none of k0, k1"),
    ("loop", {"k1": {"prev": "k1"}}, "loop.k1 leads back to itself; a chain ends at k0"),
    (
        "loop",
        {"k1": {"prev": "k2"}, "k2": {"prev": "k1"}},
        "loop.k1 leads back to itself; a chain ends at k0",
    ),
    (
        "loop",
        {"k1": {"prev": "k0"}, "k3": {"prev": "k2"}, "k2": {"prev": "k3"}},
        "loop.k2 leads back to itself",
    ),
]


def test_a_head_of_odd_width_is_refused_for_causal_models_alone(changed: Change) -> None:
    odd = {"sft__scratch__width": 24, "sft__scratch__heads": 8}
    assert load_params(changed(**odd)).sft.scratch.heads == 8
    message = _message(changed(**odd, sft__scratch__family="causal"))
    assert message.startswith("sft.scratch: width 24 over heads 8 is 3, needs an even number")


@pytest.mark.parametrize(("key", "value", "message"), BAD)
def test_a_bad_value_is_told_with_its_key_and_what_is_needed(
    key: str, value: Any, message: str, changed: Change
) -> None:
    assert message in _message(changed(**{key: value}))


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("sft__learning_rte", "sft.learning_rte is not a parameter; did you mean learning_rate?"),
        ("sampel", "sampel is not a parameter; did you mean sample?"),
        ("sft__scratch__widht", "sft.scratch.widht is not a parameter; did you mean width?"),
        ("loop__k1__previous", "loop.k1.previous is not a parameter; did you mean prev?"),
        ("sample__zzz", "sample.zzz is not a parameter; known keys: engine, path, model, api,"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(
    key: str, message: str, changed: Change
) -> None:
    assert message in _message(changed(**{key: 1}))


@pytest.mark.parametrize("key", ["seed", "sample", "sft__scratch__width", "rlhf__clip", "loop"])
def test_a_missing_key_is_named(key: str, changed: Change) -> None:
    assert _message(changed(**{key: MISSING})).startswith(
        f"{key.replace('__', '.')} is missing; add it"
    )


def test_all_faults_are_told_at_once(changed: Change) -> None:
    message = _message(changed(seed=-1, sft__stpes=3, sample__temperature=MISSING))
    for part in ("seed is -1", "sft.stpes is not", "sample.temperature is missing"):
        assert part in message
    assert message.count("; ") >= 2


def test_choices_that_contradict_each_other_are_refused(changed: Change) -> None:
    knockout = changed(won_select__method="tournament", won_select__selector="random_pair")
    assert "selector random_pair needs method exact" in _message(knockout)
    for selector in ("best_below", "best_median", "quartiles"):
        joint = changed(base_rm__comparator="joint", won_select__selector=selector)
        assert f"{selector} needs a score per candidate" in _message(joint)
    sure = changed(won_select__pessimism=0.5)
    assert "won_select.pessimism is 0.5, which needs an ensemble: base_rm.members is 1" in (
        _message(sure)
    )
    doubtful = changed(
        base_rm__members=3, won_select__pessimism=0.5, won_select__method="tournament"
    )
    assert "pessimism is 0.5, which a tournament cannot use" in _message(doubtful)
    assert load_params(changed(base_rm__members=3, won_select__pessimism=0.5)).base_rm.members == 3
    shorter = changed(won_select__stop__length=0.5)
    assert "length is 0.5, a factor of change in either direction: needs at least 1" in (
        _message(shorter)
    )
    frozen = changed(student_rm__learner="linear_head", student_rm__lora__rank=4)
    assert "set student_rm.lora.rank to 0, or student_rm.learner to network" in _message(frozen)
    planes = changed(base_rm__learner="linear_head")
    assert "set base_rm.comparator to pointwise or joint" in _message(planes)
    random = changed(
        student_rm__learner="linear_head",
        reward_start__model="scratch",
        rlhf__algorithm="rloo",
    )
    assert "student_rm.learner is linear_head and reward_start.model is scratch" in _message(random)
    unfit = changed(
        student_rm__learner="network",
        base_rm__head_start="linear_head",
        reward_start__model="scratch",
        rlhf__algorithm="rloo",
    )
    assert "set base_rm.head_start to zero" in _message(unfit)
    lonely = changed(rlhf__algorithm="rloo", rlhf__samples_per_prompt=1)
    assert "samples_per_prompt is 1, algorithm rloo compares at least 2" in _message(lonely)


@pytest.mark.parametrize(("written", "read"), [("validation", "validation"), (1, 1.0), (0, 0.0)])
def test_a_power_is_validation_or_a_number(
    written: str | int, read: str | float, changed: Change
) -> None:
    found = load_params(changed(student_rm__covariance_power=written)).student_rm.covariance_power
    assert (found, type(found)) == (read, type(read))


def test_selectors_that_need_scores_are_in_the_table() -> None:
    assert set(SCORE_SELECTORS) < set(SELECTORS)


def test_parameters_offer_the_comparators_that_there_are() -> None:
    assert set(get_args(ComparatorName)) == set(COMPARATORS)


def test_rloo_does_not_ask_for_steps_of_value_warmup(changed: Change) -> None:
    params = load_params(changed(rlhf__algorithm="rloo", rlhf__value_warmup_steps=60))
    assert params.rlhf.frozen_steps == 0
    assert (
        load_params(REPOSITORY).rlhf.frozen_steps == load_params(REPOSITORY).rlhf.value_warmup_steps
    )


def test_chains_and_branches_of_iterations_are_valid(changed: Change) -> None:
    loop = {"k1": {"prev": "k0"}, "k2": {"prev": "k1"}, "k10": {"prev": "k2"}, "k3": {"prev": "k0"}}
    assert list(load_params(changed(loop=loop)).loop) == ["k1", "k10", "k2", "k3"]


@pytest.mark.parametrize("text", ["1e-5", "1E-5", "1.0e-05", "0.00001", "1e-05"])
def test_small_numbers_are_numbers_in_every_spelling(text: str, tmp_path: Path) -> None:
    # YAML 1.1 reads 1e-5 as a string; DVC reads YAML 1.2.
    lines = REPOSITORY.read_text(encoding="utf-8").splitlines()
    rewritten = [
        f"  learning_rate: {text}" if line.strip().startswith("learning_rate:") else line
        for line in lines
    ]
    assert rewritten != lines
    path = tmp_path / "params.yaml"
    path.write_text("\n".join(rewritten), encoding="utf-8")
    assert load_params(path).sft.learning_rate == load_params(path).rlhf.learning_rate == 1e-5


def test_a_file_that_dvc_rewrote_reads_the_same(tmp_path: Path) -> None:
    # `dvc exp run -S` round-trips the file with its comments.
    yaml = YAML()
    document = yaml.load(REPOSITORY.read_text(encoding="utf-8"))
    document["sft"]["learning_rate"] = 1e-5
    document["filter"]["quantile"] = 0.25
    document["prepare"] |= {"source": "hh", "path": "raw/hh"}
    path = tmp_path / "params.yaml"
    with path.open("w", encoding="utf-8") as handle:
        yaml.dump(document, handle)
    params, before = load_params(path), load_params(REPOSITORY)
    assert (params.sft.learning_rate, params.filter.quantile) == (1e-5, 0.25)
    assert params.prepare.source == "hh"
    assert params.student_rm == before.student_rm
    assert params.rlhf == before.rlhf


@pytest.mark.parametrize("text", ["yes", "on", "off"])
def test_words_that_older_yaml_took_for_booleans_stay_words(text: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    source = REPOSITORY.read_text(encoding="utf-8").replace("subset: all", f"subset: {text}")
    path.write_text(source, encoding="utf-8")
    assert load_params(path).prepare.files.subset == text
    assert load_params(path).prepare.files.subsets == (text,)


def test_all_subsets_are_no_restriction() -> None:
    assert load_params(REPOSITORY).prepare.files.subsets == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds NoneType, needs a mapping of sections"),
        (b"- a\n- b\n", "holds list, needs a mapping of sections"),
        (b"seed: [1, 2\n", "is not valid YAML: "),
        (b"seed: 1\nseed: 2\n", "is not valid YAML: "),
        (b"seed: \xff\xfe\n", "cannot be read: "),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_in_one_line(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    assert message in _message(path)


def test_a_missing_file_says_where_to_stand(tmp_path: Path) -> None:
    message = _message(tmp_path / "none.yaml")
    assert message.endswith("none.yaml is missing; run from the repository root")
    assert "cannot be read" in _message(tmp_path)


def test_parameters_cannot_be_changed_after_reading() -> None:
    params: Params = load_params(REPOSITORY)
    with pytest.raises(ValidationError, match="frozen"):
        params.sft.steps = 3  # type: ignore[misc]


@pytest.mark.parametrize("section", ["base_rm", "student_rm"])
def test_adapters_need_pretrained_weights(section: str, changed: Change) -> None:
    path = changed(
        rlhf__algorithm="rloo",
        reward_start__model="scratch",
        student_rm__learner="network",
        **{f"{section}__lora__rank": 4},
    )
    assert _message(path) == (
        f"{section}.lora.rank is 4 and reward_start.model is scratch, whose random weights have to "
        f"learn; set {section}.lora.rank to 0, or reward_start.model to policy or a pretrained one"
    )


def test_columns_are_a_mapping_of_one_form(tmp_path: Path) -> None:
    yaml = YAML()
    document = yaml.load(REPOSITORY.read_text("utf-8"))
    columns = document["prepare"]["columns"]
    assert load_params(REPOSITORY).prepare.columns.mapping is None
    path = tmp_path / "params.yaml"
    columns |= {"response_a": "a", "response_b": "b", "label": "which", "label_a": 1, "label_b": 0}
    yaml.dump(document, path)
    mapping = load_params(path).prepare.columns.mapping
    assert mapping == Columns(
        response_a="a", response_b="b", label="which", label_a="1", label_b="0"
    )
    columns["label_a"] = True
    yaml.dump(document, path)
    assert load_params(path).prepare.columns.label_a == "true"
    for changes, needed in (
        ({"label_b": "none"}, "labelled pairs need response_a, response_b, label, label_a"),
        ({"chosen": "c"}, "names pairs and labelled pairs; needs one of"),
        ({"order": "up"}, "prepare.columns.order is 'up', needs 'higher' or 'lower'"),
    ):
        document["prepare"]["columns"] = {**columns, **changes}
        yaml.dump(document, path)
        with pytest.raises(ParameterError) as caught:
            load_params(path)
        assert needed in str(caught.value)
