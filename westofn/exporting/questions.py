"""Export questions for human labellers: the most informative pairs of the policy's candidates.

The folder contains `questions.jsonl`, `label.html` (an offline page for labelling) and a card. The
order of the two responses is random, and no file contains a model's preference. `prepare` reads
the answers, see `westofn/sources/answers.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
import torch

from westofn.artifacts.atomic import write_bytes
from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.pools import Pools
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.content_policy import content_policy
from westofn.core.linear_reward import inverse_spread
from westofn.core.questions import PAIRS_A_PROMPT, CandidatePairs, choose_questions
from westofn.core.seeds import derive_seed
from westofn.errors import DataError, ParameterError
from westofn.exporting.cards import (
    CARD,
    TAG,
    check_files,
    check_folder,
    new_folder,
    parameters,
    table,
    versions,
    write_card,
)
from westofn.exporting.lineage import LOCK, Lineage, lineage_of
from westofn.models.features import FeatureReader
from westofn.params.whole import Params
from westofn.runtime import set_up_torch
from westofn.sources.data import labeled_half
from westofn.sources.splits import hash_order, stable_id
from westofn.training.start import reward_start

QUESTIONS = "questions.jsonl"
PAGE = "label.html"
FOLDER = Path(__file__).parent
TEMPLATE, STYLE, SCRIPT = "label.html.jinja", "label.css", "label.js"
NUMBERS_AT_ONCE = 2**25
"""Largest number of feature values of all compared pairs; it limits the pairs per prompt."""


@dataclass(frozen=True)
class Question:
    """A pair to label.

    Attributes:
        question_id: Hash of prompt and responses, independent of the order of the responses.
        prompt: Text of the prompt.
        response_a: Response that is shown first.
        response_b: Response that is shown second.
        informativeness: Reduction of variance, see `core.questions`; labellers do not see it.
    """

    question_id: str
    prompt: str
    response_a: str
    response_b: str
    informativeness: float

    @property
    def shown(self) -> dict[str, str]:
        """Return the fields that the page contains."""
        return {
            "question_id": self.question_id,
            "prompt": self.prompt,
            "response_a": self.response_a,
            "response_b": self.response_b,
        }


def export_questions(
    out: Path,
    *,
    params: Params,
    data: Path,
    iteration: str = "k1",
    count: int = 100,
    a_prompt: int = 1,
    prompts: int = 400,
    lock: Path = LOCK,
) -> list[Question]:
    """Choose questions; write them with the labelling page and the card.

    Args:
        out: Folder to write; an earlier export in it is replaced.
        params: Parameters of the run: reward start, read-out and seed are used.
        data: Folder of the pipeline's outputs.
        iteration: Iteration whose candidates are used.
        count: Largest number of questions.
        a_prompt: Largest number of questions about one prompt.
        prompts: Largest number of prompts of D_U to consider, drawn at random.
        lock: Path of dvc.lock.

    Returns:
        The questions, the most informative first.

    Raises:
        ParameterError: The iteration is unknown.
        DataError: `out` exists and is not an export or has other files, an output is missing, or no
            unlabelled pair is left.
        ModelError: The model in which reward models start cannot be loaded.
    """
    check_folder(out, [data])
    check_files(out, {QUESTIONS, PAGE, CARD})
    candidates = _candidates_file(data, iteration)
    inputs = _Inputs.read(data, candidates, prompts, params.seed)
    questions = _choose(inputs, params, data, count, a_prompt)
    if not questions:
        raise DataError(
            f"{candidates}: no prompt has two different candidates that are not labelled yet; "
            f"needs at least one: sample more (sample.n_candidates), or other prompts"
        )
    with new_folder(out) as place:
        rows = [
            question.shown | {"informativeness": question.informativeness} for question in questions
        ]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        write_bytes("".join(lines).encode(), place / QUESTIONS)
        write_bytes(label_page(questions).encode(), place / PAGE)
        about = _About(iteration, questions, inputs, lineage_of(candidates, lock))
        write_card(place, out.name, _header(), _body(about))
    return questions


def label_page(questions: Sequence[Question]) -> str:
    """Render the self-contained labelling page."""
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    style, script = ((FOLDER / name).read_text(encoding="utf-8") for name in (STYLE, SCRIPT))
    shown = [question.shown for question in questions]
    key = hashlib.blake2b(json.dumps(shown).encode(), digest_size=8).hexdigest()
    # `tojson` escapes < > & ' and non-ASCII characters as \uXXXX, so no text can end the script.
    return environment.get_template(TEMPLATE).render(
        policy=markupsafe.Markup(content_policy([script], style)),
        style=markupsafe.Markup(style),
        script=markupsafe.Markup(script),
        export={"key": key, "questions": shown},
    )


@dataclass(frozen=True)
class _Inputs:
    """Data of a run.

    Attributes:
        human: Pairs of D_L (table preferences).
        validation: Human pairs that choose the penalty (table preferences).
        pools: Prompts of D_U with their candidates.
        labelled: (prompt_id, set of both responses) of every human pair.
    """

    human: pl.DataFrame
    validation: pl.DataFrame
    pools: Pools
    labelled: frozenset[tuple[str, frozenset[str]]]

    @classmethod
    def read(cls, data: Path, candidates: Path, most: int, seed: int) -> _Inputs:
        preferences = PREFERENCES.read(data / "prepared" / "preferences.parquet")
        prompts = PROMPTS.read(data / "prepared" / "prompts.parquet")
        unlabeled = prompts.filter(pl.col("split") == "unlabeled")
        pools = Pools.from_frames(CANDIDATES.read(candidates), unlabeled)
        drawn = set(hash_order(pools.prompt_ids, seed, "questions")[:most])
        rows = [row for row, name in enumerate(pools.prompt_ids) if name in drawn]
        pairs = preferences.select("prompt_id", "chosen", "rejected").iter_rows()
        return cls(
            human=labeled_half(preferences, prompts),
            validation=preferences.filter(pl.col("split") == "validation"),
            pools=pools.take(rows),
            labelled=frozenset((name, frozenset(responses)) for name, *responses in pairs),
        )


def _candidates_file(data: Path, iteration: str) -> Path:
    known = sorted(path.parent.name for path in data.glob("loop/*/candidates.parquet"))
    if not known:
        raise DataError(f"{data}/loop has no candidates; run `dvc repro`, or mend --data")
    if iteration not in known:
        raise ParameterError(f"--iteration: {iteration!r} is none of {', '.join(known)}")
    return data / "loop" / iteration / "candidates.parquet"


def _choose(
    inputs: _Inputs, params: Params, data: Path, count: int, a_prompt: int
) -> list[Question]:
    """Choose questions with heads fitted on frozen features of the reward models' start."""
    device = set_up_torch()
    start = reward_start(
        params.reward_start, data / "loop" / "k0" / "policy", "pointwise", params.seed
    )
    model = start.model.to(device)  # type: ignore[arg-type]
    reader = FeatureReader(model, start.encoder, params.student_rm.readout)
    human, validation = _features(reader, inputs.human), _features(reader, inputs.validation)
    scale = inverse_spread(human.flatten(0, 1))
    prompts, responses = inputs.pools.prompts, inputs.pools.responses
    pools = reader.pools(prompts, responses) * scale
    pairs = _pairs(inputs, NUMBERS_AT_ONCE // reader.width, params.seed)
    if not len(pairs.prompts):
        return []
    batch = choose_questions(
        (human[:, 0] - human[:, 1]) * scale,
        (validation[:, 0] - validation[:, 1]) * scale,
        pools,
        pairs,
        count,
        seed=derive_seed(params.seed, "questions", "heads"),
        a_prompt=a_prompt,
    )
    return [
        _question(
            prompts[prompt], responses[prompt][first], responses[prompt][second], gain, params
        )
        for prompt, first, second, gain in zip(
            pairs.prompts[batch.rows].tolist(),
            pairs.first[batch.rows].tolist(),
            pairs.second[batch.rows].tolist(),
            batch.gains,
            strict=True,
        )
    ]


def _features(reader: FeatureReader, pairs: pl.DataFrame) -> torch.Tensor:
    """Return the features of chosen and rejected, (pairs, 2, width)."""
    sides = zip(pairs["chosen"], pairs["rejected"], strict=True)
    return reader.pools(pairs["prompt"].to_list(), [list(pair) for pair in sides])


def _pairs(inputs: _Inputs, most: int, seed: int) -> CandidatePairs:
    """Draw random pairs of different, unlabelled candidates, at most `most` in total."""
    rng = np.random.default_rng(derive_seed(seed, "questions", "pairs"))
    share = min(PAIRS_A_PROMPT, max(1, most // max(1, len(inputs.pools.prompts))))
    rows: list[tuple[int, int, int]] = []
    for row, (name, _, responses) in enumerate(inputs.pools.rows()):
        first_index: dict[str, int] = {}
        for index, response in enumerate(responses):
            if response.strip():
                first_index.setdefault(response.strip(), index)
        possible = [
            (row, index, other)
            for (text, index), (other_text, other) in combinations(first_index.items(), 2)
            if (name, frozenset((text, other_text))) not in inputs.labelled
        ]
        drawn = rng.permutation(len(possible))[:share]
        rows += [possible[index] for index in sorted(drawn.tolist())]
    columns = torch.tensor(rows, dtype=torch.int64).reshape(-1, 3).T
    return CandidatePairs(*columns)


def _question(prompt: str, left: str, right: str, gain: float, params: Params) -> Question:
    """Build a question; the order of the responses depends only on the seed and the texts."""
    left, right = sorted((left.strip(), right.strip()))
    name = stable_id("q", prompt, left, right)
    swapped = derive_seed(params.seed, "questions", "order", name) % 2
    first, second = (right, left) if swapped else (left, right)
    return Question(name, prompt, first, second, gain)


@dataclass(frozen=True)
class _About:
    """Information about the questions for the card."""

    iteration: str
    questions: Sequence[Question]
    inputs: _Inputs
    lineage: Lineage


def _header() -> Mapping[str, object]:
    return {"tags": ["preference", "questions", TAG]}


def _body(about: _About) -> list[str]:
    names = {question.prompt for question in about.questions}
    return [
        f"# Questions of iteration {about.iteration}",
        f"{len(about.questions):,} pairs of responses that the policy gave to {len(names):,} "
        f"prompts. Open `{PAGE}` in a browser, label, download `answers.jsonl`. The page needs no "
        "network; answers stay in the browser until they are downloaded.",
        "## Selection",
        "Linear heads on frozen features of the reward models' start were fitted on the human "
        "pairs (D_L) and on bootstrap samples of them. For every prompt, the typical pairs whose "
        "order is least certain to the heads were kept. From these, questions were chosen one by "
        "one: the pair whose label reduces the variance of margins between the policy's candidates "
        "most, tr(Σ_π C) with the heads' covariance C, given the questions before it. The first "
        "questions are therefore the most informative, and labelling can stop at any point.",
        "The order of the responses is random. `informativeness` is the reduction of the variance, "
        "in squared logits; the page does not show it.",
        table(
            ("", "count"),
            [
                ("questions", len(about.questions)),
                ("human pairs that the heads were fitted on", about.inputs.human.height),
                ("prompts of D_U that were considered", len(about.inputs.pools.prompts)),
            ],
        ),
        "## Use the answers",
        "`label` in a row of `answers.jsonl` is `a`, `b`, `tie` or `skip`; ties and skipped "
        "questions are not used.",
        "```sh\ndvc exp run -S prepare.answers=file -S prepare.answers_path=answers.jsonl\n```",
        "## Parameters",
        parameters(about.lineage),
        versions(),
    ]
