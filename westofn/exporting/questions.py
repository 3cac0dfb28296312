"""Questions for people: the pairs of the policy's candidates whose labels would bring most.

The folder holds `questions.jsonl`, `label.html` (one offline page to answer them in) and a
card. Which of two responses is called A is drawn by the seed, and no file says what a model thinks
of them. `prepare` takes the answers back: `westofn/sources/answers.py`.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
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
from westofn.core.linear_reward import inverse_spread
from westofn.core.questions import PAIRS_A_PROMPT, CandidatePairs, choose_questions
from westofn.core.seeds import derive_seed
from westofn.errors import DataError, ParameterError
from westofn.exporting.cards import check_folder, parameters, table, versions, write_card
from westofn.exporting.lineage import LOCK, Lineage, lineage_of
from westofn.models.features import FeatureReader
from westofn.models.folder import put
from westofn.params.whole import Params
from westofn.runtime import set_up_torch
from westofn.sources.data import labeled_half
from westofn.sources.splits import hash_order, stable_id
from westofn.training.start import reward_start

QUESTIONS = "questions.jsonl"
PAGE = "label.html"
TEMPLATE = "label.html.jinja"
NUMBERS_AT_ONCE = 2**25
"""Of all differences that are compared; many prompts or wide models get fewer pairs a prompt."""


@dataclass(frozen=True)
class Question:
    """A pair to label.

    Attributes:
        question_id: Names prompt and responses, in whatever order they are shown.
        prompt: As table prompts has it.
        response_a: Shown first.
        response_b: Shown second.
        informativeness: See `core.questions`; nobody who labels is shown it.
    """

    question_id: str
    prompt: str
    response_a: str
    response_b: str
    informativeness: float

    @property
    def shown(self) -> dict[str, str]:
        """What the page has of it."""
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
    """Choose questions and write them, the page and the card.

    Args:
        out: The folder; an earlier export there is replaced.
        params: Of the run: where reward models start, their read-out, the seed.
        data: The pipeline's outputs.
        iteration: Whose candidates.
        count: Questions, at most.
        a_prompt: Questions about one prompt, at most.
        prompts: Prompts of D_U that are looked at, at most; they are drawn by the seed.
        lock: DVC's record of the run.

    Returns:
        The questions, the most informative first.

    Raises:
        ParameterError: The iteration is not known.
        DataError: `out` is there and is no export, an output is missing, or no pair is left to ask.
        ModelError: The start of the reward models cannot be loaded.
    """
    check_folder(out)
    candidates = _candidates_file(data, iteration)
    read = _Inputs.read(data, candidates, prompts, params.seed)
    questions = _choose(read, params, data, count, a_prompt)
    if not questions:
        raise DataError(
            f"{candidates}: no prompt has two different candidates that were not asked about; "
            f"needs at least one: sample more (sample.n_candidates), or other prompts"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as name:
        place = Path(name) / out.name
        rows = [
            question.shown | {"informativeness": question.informativeness} for question in questions
        ]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        write_bytes("".join(lines).encode(), place / QUESTIONS)
        write_bytes(label_page(questions).encode(), place / PAGE)
        about = _About(iteration, questions, read, lineage_of(candidates, lock))
        write_card(place, out.name, _header(), _body(about))
        put(place, out)
    return questions


def label_page(questions: Sequence[Question]) -> str:
    """The page as text; it holds all that it needs and fetches nothing."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    shown = [question.shown for question in questions]
    key = hashlib.blake2b(json.dumps(shown).encode(), digest_size=8).hexdigest()
    # `tojson` writes < > & ' and all that is not ASCII as \uXXXX, so no text can end the script.
    return environment.get_template(TEMPLATE).render(export={"key": key, "questions": shown})


@dataclass(frozen=True)
class _Inputs:
    """What is read of a run.

    Attributes:
        human: D_L (table preferences).
        validation: Human pairs that choose the penalty.
        pools: The candidates of prompts of D_U.
        asked: (prompt_id, both responses) of every human pair.
    """

    human: pl.DataFrame
    validation: pl.DataFrame
    pools: Pools
    asked: frozenset[tuple[str, frozenset[str]]]

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
            asked=frozenset((name, frozenset(both)) for name, *both in pairs),
        )


def _candidates_file(data: Path, iteration: str) -> Path:
    known = sorted(path.parent.name for path in data.glob("loop/*/candidates.parquet"))
    if not known:
        raise DataError(f"{data}/loop has no candidates; run `dvc repro`, or mend --data")
    if iteration not in known:
        raise ParameterError(f"--iteration: {iteration!r} is none of {', '.join(known)}")
    return data / "loop" / iteration / "candidates.parquet"


def _choose(read: _Inputs, params: Params, data: Path, count: int, a_prompt: int) -> list[Question]:
    """Fit heads on frozen features of the reward models' start, and choose."""
    device = set_up_torch()
    start = reward_start(
        params.reward_start, data / "loop" / "k0" / "policy", "pointwise", params.seed
    )
    model = start.model.to(device)  # type: ignore[arg-type]
    reader = FeatureReader(model, start.encoder, params.student_rm.readout)
    human, validation = _both(reader, read.human), _both(reader, read.validation)
    scale = inverse_spread(human.flatten(0, 1))
    prompts, responses = read.pools.prompts, read.pools.responses
    pools = reader.pools(prompts, responses) * scale
    pairs = _pairs(read, NUMBERS_AT_ONCE // reader.width, params.seed)
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


def _both(reader: FeatureReader, pairs: pl.DataFrame) -> torch.Tensor:
    """(pairs, 2, width) features of chosen and rejected."""
    sides = zip(pairs["chosen"], pairs["rejected"], strict=True)
    return reader.pools(pairs["prompt"].to_list(), [list(pair) for pair in sides])


def _pairs(read: _Inputs, most: int, seed: int) -> CandidatePairs:
    """Random pairs of different candidates that nobody has labelled; `most` of all together."""
    rng = np.random.default_rng(derive_seed(seed, "questions", "pairs"))
    share = min(PAIRS_A_PROMPT, max(1, most // max(1, len(read.pools.prompts))))
    rows: list[tuple[int, int, int]] = []
    for row, (name, _, responses) in enumerate(read.pools.rows()):
        places: dict[str, int] = {}
        for place, response in enumerate(responses):
            if response.strip():
                places.setdefault(response.strip(), place)
        possible = [
            (row, place, other)
            for (text, place), (another, other) in combinations(places.items(), 2)
            if (name, frozenset((text, another))) not in read.asked
        ]
        drawn = rng.permutation(len(possible))[:share]
        rows += [possible[index] for index in sorted(drawn.tolist())]
    columns = torch.tensor(rows, dtype=torch.int64).reshape(-1, 3).T
    return CandidatePairs(*columns)


def _question(prompt: str, one: str, another: str, gain: float, params: Params) -> Question:
    """A question whose first response is drawn by the seed and the texts alone."""
    one, another = sorted((one.strip(), another.strip()))
    name = stable_id("q", prompt, one, another)
    turned = derive_seed(params.seed, "questions", "order", name) % 2
    first, second = (another, one) if turned else (one, another)
    return Question(name, prompt, first, second, gain)


@dataclass(frozen=True)
class _About:
    """What the card is made of."""

    iteration: str
    questions: Sequence[Question]
    read: _Inputs
    lineage: Lineage


def _header() -> Mapping[str, object]:
    return {"tags": ["preference", "questions", "west-of-n"]}


def _body(about: _About) -> list[str]:
    names = {question.prompt for question in about.questions}
    return [
        f"# Questions of iteration {about.iteration}",
        f"{len(about.questions):,} pairs of responses that the policy gave to {len(names):,} "
        f"prompts. Open `{PAGE}` in a browser, label, download `answers.jsonl`. The page needs no "
        "network; answers stay in the browser until they are downloaded.",
        "## What they are",
        "Linear heads on frozen features of the reward models' start were fitted on the human "
        "pairs (D_L) and on resamples of them. Of every prompt those typical pairs are kept of "
        "whose order the heads are least sure. From these a batch is chosen, pair by pair: the one "
        "whose label lowers the variance of margins over the policy's candidates most, tr(Σ_π C) "
        "with the heads' covariance C, given those before it. So the first questions bring most, "
        "and one may stop at any.",
        "Which response is A is drawn by the seed. `informativeness` is that fall of the variance, "
        "in squared logits; the page does not show it.",
        table(
            ("", "count"),
            [
                ("questions", len(about.questions)),
                ("human pairs that the heads learned from", about.read.human.height),
                ("prompts of D_U that were looked at", len(about.read.pools.prompts)),
            ],
        ),
        "## Back into the data",
        "`label` of a row of `answers.jsonl` is `a`, `b`, `tie` or `skip`; ties and skipped ones "
        "are not used.",
        "```sh\ndvc exp run -S prepare.answers=file -S prepare.answers_path=answers.jsonl\n```",
        "## Parameters",
        parameters(about.lineage),
        versions(),
    ]
