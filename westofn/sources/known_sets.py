"""Public preference sets: the columns that identify each, and the mapping that reads it.

The columns are those of the sets' cards and files. A recognised set needs no `prepare.columns`; if
a mapping is set there, it is used instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from westofn.sources.columns import Columns, has
from westofn.sources.expanding import (
    arena_turns,
    compared_predictions,
    ranked_replies_of_messages,
    ranked_replies_of_trees,
    with_rejected_dialogue,
)
from westofn.sources.formats import tldr
from westofn.sources.formats.rows import as_number, is_flag
from westofn.sources.reading import Row

HIGHEST_OVERALL_SCORE = 10
LOW_FINE_GRAINED_SCORE = 2
"""In December 2023, OpenBMB corrected `overall_score` from 10 to 1 in completions whose
`fine-grained_score` is at most 2."""

OVERALL_SCORE_10 = "warned_overall_score_10"
WARNINGS = {
    OVERALL_SCORE_10: "completions have overall_score 10 beside a mean of aspects of at most 2, a "
    "known fault of UltraFeedback: only ratings by fine-grained_score avoid it",
}
"""Name of a count of `KnownSet.warn` -> what it counts."""


@dataclass(frozen=True)
class KnownSet:
    """A public preference set, or a form in which tools write preferences.

    Attributes:
        name: name of the set.
        hub: its names on the hub, with commas between; "" for a form without one.
        requires: paths that the first rows have.
        columns: mapping of the rows, or of the rows that `expand` yields.
        label_source: who labelled the pairs: human or ai_judge.
        fits: condition on the first value of each column.
        expand: rewrites the rows of a file before the mapping reads them.
        warn: returns how often a row has each known fault, by name.
        confidence: the labeller's probability of a row's label.
        also_reads: optional columns that `expand` and `confidence` read.
        note: what a user should know, such as the columns that are not read.
        is_usual: whether other people's files have such columns, so that their unread columns are
            checked as those of unknown files; so it is for a form without a name on the hub.
    """

    name: str
    hub: str
    requires: tuple[str, ...]
    columns: Columns
    label_source: str = "human"
    fits: Callable[[Mapping[str, object]], bool] | None = None
    expand: Callable[[Iterable[Row]], Iterator[Row]] | None = None
    warn: Callable[[Mapping[str, object]], Mapping[str, int]] | None = None
    confidence: Callable[[Row], float | None] | None = None
    also_reads: tuple[str, ...] = ()
    note: str = ""
    is_usual: bool = False

    def fits_row(self, values: Mapping[str, object]) -> bool:
        """Return whether a row has the set's columns and fulfils its condition."""
        return all(has(values, path) for path in self.requires) and (
            self.fits is None or self.fits(values)
        )

    @property
    def title(self) -> str:
        """Name of the set, and its names on the hub."""
        return f"{self.name} ({', '.join(self.hub.split(','))})" if self.hub else self.name

    @property
    def reads(self) -> frozenset[str]:
        """Columns of the raw rows that are read."""
        if self.expand is None:
            return self.columns.keys
        first = {path.split(".")[0] for path in (*self.requires, *self.also_reads)}
        return self.columns.keys | first


def recognise_set(values: Mapping[str, object]) -> KnownSet | None:
    """Return the first known set that fits a row; None if none does."""
    return next((known for known in KNOWN_SETS if known.fits_row(values)), None)


def overall_score_faults(values: Mapping[str, object]) -> int:
    """Count the completions of a row of UltraFeedback whose overall_score is known to be wrong.

    In the first release a rating of 1 became 10: `overall_score` is 10 where the mean of the
    aspects, `fine-grained_score`, is at most 2.

    >>> overall_score_faults({"completions": [{"overall_score": 10, "fine-grained_score": 1.25}]})
    1
    """
    completions = values.get("completions")
    return sum(
        as_number(entry.get("overall_score")) == HIGHEST_OVERALL_SCORE
        and (as_number(entry.get("fine-grained_score")) or HIGHEST_OVERALL_SCORE)
        <= LOW_FINE_GRAINED_SCORE
        for entry in (completions if isinstance(completions, list) else [])
        if isinstance(entry, Mapping)
    )


def _are_lists(*names: str) -> Callable[[Mapping[str, object]], bool]:
    return lambda values: all(isinstance(values[name], list) for name in names)


def _are_texts(*names: str) -> Callable[[Mapping[str, object]], bool]:
    return lambda values: all(isinstance(values[name], str) for name in names)


def _has_no(*names: str) -> Callable[[Mapping[str, object]], bool]:
    """Require that a row has none of these columns, which the set lacks and a prompt would need."""
    return lambda values: not any(name in values for name in names)


def _all(
    *conditions: Callable[[Mapping[str, object]], bool],
) -> Callable[[Mapping[str, object]], bool]:
    return lambda values: all(condition(values) for condition in conditions)


def _is_flag(name: str) -> Callable[[Mapping[str, object]], bool]:
    """Require true or false, or a text of one of them."""
    return lambda values: is_flag(values[name])


def _is_number(name: str) -> Callable[[Mapping[str, object]], bool]:
    return lambda values: as_number(values[name]) is not None


_ULTRAFEEDBACK_NOTE = (
    "The rating is the mean of the aspects; "
    "`-S prepare.columns.scores=completions.*.overall_score` reads the other one. "
    "`warned_overall_score_10` counts a known fault of the first release: completions with an "
    "`overall_score` of 10 beside a mean of at most 2."
)
_TREE_NOTE = (
    "Each prompt with two or more ranked replies makes a row; `lang` is the subset. Prompts with "
    "one reply, deleted messages and labels of quality are not read."
)
_ARENA_NOTE = "A conversation of several turns is dropped if the models' earlier turns differ."
_DIALOGUES = ("chosen", "rejected")

KNOWN_SETS: tuple[KnownSet, ...] = (
    KnownSet(
        "TL;DR comparisons",
        "openai/summarize_from_feedback",
        ("info", "summaries", "choice"),
        Columns(
            prompt=tldr.PROMPT,
            response_a="summaries.0.text",
            response_b="summaries.1.text",
            label="choice",
            label_a="0",
            label_b="1",
            subset="batch",
        ),
        expand=tldr.with_prompts,
        confidence=tldr.confidence,
        also_reads=("extra",),
        note="The configuration is comparisons. Rows about news articles are dropped.",
    ),
    KnownSet(
        "UltraFeedback",
        "openbmb/UltraFeedback",
        ("instruction", "completions.*.response", "completions.*.fine-grained_score"),
        Columns(
            prompt="instruction",
            responses="completions.*.response",
            scores="completions.*.fine-grained_score",
            subset="source",
        ),
        "ai_judge",
        warn=lambda values: {OVERALL_SCORE_10: overall_score_faults(values)},
        note=_ULTRAFEEDBACK_NOTE,
    ),
    KnownSet(
        "UltraFeedback without aspects",
        "",
        ("instruction", "completions.*.response", "completions.*.overall_score"),
        Columns(
            prompt="instruction",
            responses="completions.*.response",
            scores="completions.*.overall_score",
            subset="source",
        ),
        "ai_judge",
        fits=lambda values: not has(values, "completions.*.fine-grained_score"),
        note="Files in UltraFeedback's form with one rating of each completion.",
    ),
    KnownSet(
        "UltraFeedback binarized",
        "HuggingFaceH4/ultrafeedback_binarized",
        ("prompt", "prompt_id", *_DIALOGUES, "score_chosen", "score_rejected"),
        Columns(
            prompt="prompt",
            chosen="chosen",
            rejected="rejected",
            chosen_score="score_chosen",
            rejected_score="score_rejected",
        ),
        "ai_judge",
        fits=_are_lists(*_DIALOGUES),
        note="Splits of preferences are train_prefs and test_prefs; `messages` repeats chosen.",
    ),
    KnownSet(
        "UltraFeedback binarized by Argilla",
        "argilla/ultrafeedback-binarized-preferences",
        ("instruction", "chosen_response", "rejected_response", "chosen_avg_rating"),
        Columns(
            prompt="instruction",
            chosen="chosen_response",
            rejected="rejected_response",
            chosen_score="chosen_avg_rating",
            rejected_score="rejected_avg_rating",
            subset="source",
        ),
        "ai_judge",
        note="The ratings are means of the aspects, without the fault of `overall_score`.",
    ),
    KnownSet(
        "UltraFeedback cleaned by Argilla",
        "argilla/ultrafeedback-binarized-preferences-cleaned",
        ("prompt", *_DIALOGUES, "chosen-rating", "rejected-rating"),
        Columns(
            prompt="prompt",
            chosen="chosen",
            rejected="rejected",
            chosen_score="chosen-rating",
            rejected_score="rejected-rating",
            subset="source",
        ),
        "ai_judge",
        note="The set has no prompts of TruthfulQA.",
    ),
    KnownSet(
        "HelpSteer",
        "nvidia/HelpSteer,nvidia/HelpSteer2",
        ("prompt", "response", "helpfulness", "correctness", "coherence"),
        Columns(prompt="prompt", response="response", score="helpfulness"),
        fits=_is_number("helpfulness"),
        note="The rating is helpfulness; `-S prepare.columns.score=correctness` reads another one.",
    ),
    KnownSet(
        "HelpSteer2 preferences",
        "nvidia/HelpSteer2",
        ("prompt", "response_1", "response_2", "preference_strength"),
        Columns(
            prompt="prompt",
            response_a="response_1",
            response_b="response_2",
            label="preference_strength",
            label_a="<0",
            label_b=">0",
            label_tie="0",
        ),
        note="The folder is preference. The annotators' single votes and the size of the strength "
        "are not read.",
    ),
    KnownSet(
        "HelpSteer3 preferences",
        "nvidia/HelpSteer3",
        ("context", "response1", "response2", "overall_preference"),
        Columns(
            prompt="context",
            response_a="response1",
            response_b="response2",
            label="overall_preference",
            label_a="<0",
            label_b=">0",
            label_tie="0",
            subset="domain",
        ),
        note="The configuration is preference. `individual_preference` is not read.",
    ),
    KnownSet(
        "PKU-SafeRLHF",
        "PKU-Alignment/PKU-SafeRLHF,PKU-Alignment/PKU-SafeRLHF-30K",
        ("prompt", "response_0", "response_1", "better_response_id"),
        Columns(
            prompt="prompt",
            response_a="response_0",
            response_b="response_1",
            label="better_response_id",
            label_a="0",
            label_b="1",
        ),
        note="The more helpful response; `-S prepare.columns.label=safer_response_id` reads the "
        "safer one.",
    ),
    KnownSet(
        "Nectar",
        "berkeley-nest/Nectar",
        ("prompt", "answers.*.answer", "answers.*.rank"),
        Columns(
            prompt="prompt", responses="answers.*.answer", scores="answers.*.rank", order="lower"
        ),
        "ai_judge",
        note="Rank 1 is the best.",
    ),
    KnownSet(
        "SHP",
        "stanfordnlp/SHP,stanfordnlp/SHP-2",
        ("history", "human_ref_A", "human_ref_B", "labels"),
        Columns(
            prompt="history",
            response_a="human_ref_A",
            response_b="human_ref_B",
            label="labels",
            label_a="1",
            label_b="0",
            subset="domain",
        ),
        note="`score_ratio`, by which some projects filter, is not read.",
    ),
    KnownSet(
        "WebGPT comparisons",
        "openai/webgpt_comparisons",
        ("question.full_text", "answer_0", "answer_1", "score_0", "score_1"),
        Columns(
            prompt="question.full_text",
            response_a="answer_0",
            response_b="answer_1",
            score_a="score_0",
            score_b="score_1",
            subset="question.dataset",
        ),
        note="Quotes and their texts are not read; answers keep the numbers of their sources.",
    ),
    KnownSet(
        "Stack Exchange paired",
        "lvwerra/stack-exchange-paired",
        ("question", "response_j", "response_k"),
        Columns(prompt="question", chosen="response_j", rejected="response_k"),
        note="`response_j` has the more votes.",
    ),
    KnownSet(
        "OASST",
        "OpenAssistant/oasst1,OpenAssistant/oasst2",
        ("message_id", "parent_id", "text", "role", "rank", "lang"),
        Columns(
            prompt="prompt", responses="responses", scores="ranks", order="lower", subset="lang"
        ),
        expand=ranked_replies_of_messages,
        note=_TREE_NOTE,
    ),
    KnownSet(
        "OASST trees",
        "OpenAssistant/oasst1,OpenAssistant/oasst2",
        ("message_tree_id", "prompt.replies", "prompt.text"),
        Columns(
            prompt="prompt", responses="responses", scores="ranks", order="lower", subset="lang"
        ),
        expand=ranked_replies_of_trees,
        note=_TREE_NOTE,
    ),
    KnownSet(
        "LMSYS arena",
        "lmsys/chatbot_arena_conversations,lmsys/mt_bench_human_judgments,"
        "lmarena-ai/arena-human-preference-100k,lmarena-ai/arena-human-preference-140k",
        ("conversation_a", "conversation_b", "winner"),
        Columns(
            response_a="conversation_a",
            response_b="conversation_b",
            label="winner",
            label_a="model_a",
            label_b="model_b",
            label_tie="tie,tie (bothbad),tie (inconsistent),both_bad",
            subset="language",
        ),
        note=_ARENA_NOTE,
    ),
    KnownSet(
        "LMSYS arena 55k",
        "lmsys/lmsys-arena-human-preference-55k,lmarena-ai/arena-human-preference-55k",
        ("prompt", "response_a", "response_b", "winner_model_a", "winner_model_b", "winner_tie"),
        Columns(
            response_a="conversation_a",
            response_b="conversation_b",
            label="winner",
            label_a="a",
            label_b="b",
            label_tie="tie",
        ),
        expand=arena_turns,
        note=_ARENA_NOTE,
    ),
    KnownSet(
        "Orca DPO pairs rated by distilabel",
        "argilla/distilabel-intel-orca-dpo-pairs",
        ("system", "input", *_DIALOGUES, "status", "chosen_score"),
        Columns(prompt="input", system="system", chosen="chosen", rejected="rejected"),
        "ai_judge",
        note="Rows with the `status` tie, which rows without a rating have too, are dropped. "
        "`chosen_score` and `in_gsm8k_train`, by which the card filters, are not read.",
    ),
    KnownSet(
        "Orca DPO pairs",
        "Intel/orca_dpo_pairs",
        ("system", "question", *_DIALOGUES),
        Columns(prompt="question", system="system", chosen="chosen", rejected="rejected"),
        "ai_judge",
        fits=_has_no("context", "history", "input", "prompt"),
        note="chosen is by GPT-4 or GPT-3.5, rejected by Llama-2-13B; nobody compared them.",
        is_usual=True,
    ),
    KnownSet(
        "Math preferences of distilabel",
        "argilla/distilabel-math-preference-dpo",
        ("instruction", "chosen_response", "rejected_response", "chosen_rating"),
        Columns(
            prompt="instruction",
            chosen="chosen_response",
            rejected="rejected_response",
            chosen_score="chosen_rating",
            rejected_score="rejected_rating",
        ),
        "ai_judge",
    ),
    KnownSet(
        "DPO mix 7k",
        "argilla/dpo-mix-7k",
        ("dataset", *_DIALOGUES, "chosen_rating", "rejected_rating"),
        Columns(
            chosen="chosen",
            rejected="rejected",
            chosen_score="chosen_rating",
            rejected_score="rejected_rating",
            subset="dataset",
        ),
        "ai_judge",
        fits=_are_lists(*_DIALOGUES),
        note="A mixture of three sets on this page.",
    ),
    KnownSet(
        "Capybara preferences of distilabel",
        "argilla/distilabel-capybara-dpo-7k-binarized",
        ("original_response", *_DIALOGUES, "rating_chosen", "rating_rejected"),
        Columns(
            chosen="chosen",
            rejected="rejected",
            chosen_score="rating_chosen",
            rejected_score="rating_rejected",
            subset="source",
        ),
        "ai_judge",
        fits=_are_lists(*_DIALOGUES),
        note="`conversation` and `prompt` repeat what chosen begins with.",
    ),
    KnownSet(
        "UltraInteract",
        "openbmb/UltraInteract_pair",
        ("trajectory", *_DIALOGUES),
        Columns(prompt="trajectory", chosen="chosen", rejected="rejected", subset="task"),
        "ai_judge",
        note="Labels are by the outcome of a test or a reference answer; ids repeat and are not "
        "read.",
    ),
    KnownSet(
        "OpenAI preference fine-tuning",
        "",
        ("input.messages", "preferred_output", "non_preferred_output"),
        Columns(prompt="input", chosen="preferred_output", rejected="non_preferred_output"),
        note="The file that OpenAI's preference fine-tuning takes; rows with tools are refused.",
    ),
    KnownSet(
        "LLaMA-Factory preferences, sharegpt form",
        "",
        ("conversations", *_DIALOGUES),
        Columns(prompt="conversations", system="system", chosen="chosen", rejected="rejected"),
        fits=lambda values: isinstance(values["chosen"], Mapping),
    ),
    KnownSet(
        "LLaMA-Factory preferences, alpaca form",
        "",
        ("instruction", "input", *_DIALOGUES),
        Columns(
            prompt="instruction",
            input="input",
            system="system",
            history="history",
            chosen="chosen",
            rejected="rejected",
        ),
        fits=_has_no("context", "prompt", "question"),
    ),
    KnownSet(
        "LLaMA-Factory KTO, alpaca form",
        "",
        ("instruction", "output", "kto_tag"),
        Columns(
            prompt="instruction",
            input="input",
            system="system",
            history="history",
            response="output",
            score="kto_tag",
        ),
        fits=_is_flag("kto_tag"),
        note="A prompt gives a pair if it has a response of each label.",
    ),
    KnownSet(
        "KTO",
        "trl-lib/kto-mix-14k",
        ("prompt", "completion", "label"),
        Columns(prompt="prompt", response="completion", score="label"),
        fits=_all(_is_flag("label"), _has_no("context", "history", "input", "system")),
        note="A prompt gives a pair if it has a completion of each label.",
        is_usual=True,
    ),
    KnownSet(
        "KTO, whole dialogues",
        "",
        ("messages", "label"),
        Columns(response="messages", system="system", score="label"),
        fits=_all(_is_flag("label"), _has_no("completion", "response")),
        note="A prompt gives a pair if it has a response of each label.",
    ),
    KnownSet(
        "LLaMA-Factory KTO, sharegpt form",
        "",
        ("conversations", "kto_tag"),
        Columns(response="conversations", system="system", score="kto_tag"),
        fits=_is_flag("kto_tag"),
        note="A prompt gives a pair if it has a response of each label.",
    ),
    KnownSet(
        "ms-swift preferences",
        "",
        ("messages", "rejected_response"),
        Columns(system="system", chosen="messages", rejected="rejected_response"),
        expand=with_rejected_dialogue,
        also_reads=("system",),
        fits=_has_no("chosen", "chosen_response", "prompt", "response"),
        note="The last of `messages` is the better response.",
    ),
    KnownSet(
        "ms-swift preferences, two dialogues",
        "",
        ("messages", "rejected_messages"),
        Columns(chosen="messages", rejected="rejected_messages"),
        fits=_has_no("chosen", "chosen_messages", "prompt"),
    ),
    KnownSet(
        "ms-swift preferences, query and response",
        "",
        ("query", "response", "rejected_response"),
        Columns(
            prompt="query",
            system="system",
            history="history",
            chosen="response",
            rejected="rejected_response",
        ),
    ),
    KnownSet(
        "Preference Collection",
        "prometheus-eval/Preference-Collection",
        ("orig_instruction", "orig_response_A", "orig_response_B", "orig_preference"),
        Columns(
            prompt="orig_instruction",
            response_a="orig_response_A",
            response_b="orig_response_B",
            label="orig_preference",
            label_a="a",
            label_b="b",
        ),
        "ai_judge",
        note="The criterion and the reference answer are not read.",
    ),
    KnownSet(
        "Feedback Collection",
        "prometheus-eval/Feedback-Collection",
        ("orig_instruction", "orig_response", "orig_score"),
        Columns(prompt="orig_instruction", response="orig_response", score="orig_score"),
        "ai_judge",
        note="The criterion and the reference answer are not read.",
    ),
    KnownSet(
        "RewardBench",
        "allenai/reward-bench",
        ("prompt", *_DIALOGUES, "chosen_model", "rejected_model", "subset"),
        Columns(prompt="prompt", chosen="chosen", rejected="rejected", subset="subset"),
        note="Ids repeat in each subset and are not read. A test set: do not train on it.",
    ),
    KnownSet(
        "RewardBench 2",
        "allenai/reward-bench-2",
        ("prompt", *_DIALOGUES, "num_correct", "subset"),
        Columns(prompt="prompt", chosen="chosen", rejected="rejected", subset="subset"),
        fits=_are_lists(*_DIALOGUES),
        note="A row gives one correct and one wrong response. A test set: do not train on it.",
    ),
    KnownSet(
        "RM-Bench",
        "THU-KEG/RM-Bench",
        ("prompt", *_DIALOGUES, "domain"),
        Columns(prompt="prompt", chosen="chosen", rejected="rejected", subset="domain"),
        fits=lambda values: all(
            isinstance(side, list) and side and isinstance(side[0], str)
            for side in (values["chosen"], values["rejected"])
        ),
        note="A row gives one of its nine pairs, whatever their styles. A test set: do not "
        "train on it.",
    ),
    KnownSet(
        "JudgeBench",
        "ScalerLab/JudgeBench",
        ("question", "response_A", "response_B", "label", "pair_id"),
        Columns(
            prompt="question",
            response_a="response_A",
            response_b="response_B",
            label="label",
            label_a="a>b",
            label_b="b>a",
            subset="source",
        ),
        fits=lambda values: values["label"] in ("A>B", "B>A"),
        note="Labels are by correctness. A test set: do not train on it.",
    ),
    KnownSet(
        "LLMBar",
        "princeton-nlp/LLMBar",
        ("input", "output_1", "output_2", "label"),
        Columns(
            prompt="input",
            response_a="output_1",
            response_b="output_2",
            label="label",
            label_a="1",
            label_b="2",
        ),
        fits=_has_no("context", "instruction", "prompt", "question", "system"),
        note="A test set: do not train on it.",
        is_usual=True,
    ),
    KnownSet(
        "AlpacaFarm",
        "tatsu-lab/alpaca_farm",
        ("instruction", "output_1", "output_2", "preference"),
        Columns(
            prompt="instruction",
            input="input",
            response_a="output_1",
            response_b="output_2",
            label="preference",
            label_a="1",
            label_b="2",
        ),
        note="The configuration is alpaca_human_preference; those by GPT-4 have the same columns. "
        "A preference of 0, which is a tie in some files and `output_1` in others, is refused.",
        is_usual=True,
    ),
    KnownSet(
        "PandaLM",
        "WeOpenML/PandaLM",
        ("instruction", "response1", "response2", "annotator1", "annotator2", "annotator3"),
        Columns(
            prompt="instruction",
            input="input",
            response_a="response1",
            response_b="response2",
            label="annotator1,annotator2,annotator3",
            label_a="1",
            label_b="2",
            label_tie="0",
        ),
        note="The majority of three annotators decides. Responses that are no texts need "
        "`-S prepare.bad_rows=drop`. A test set: do not train on it.",
    ),
    KnownSet(
        "RMB pairs",
        "",
        ("conversation_input", "chosen.answer", "reject.answer"),
        Columns(
            prompt="conversation_input",
            chosen="chosen.answer",
            rejected="reject.answer",
            subset="category_path",
        ),
        "ai_judge",
        note="github.com/Zhou-Zoey/RMB-Reward-Model-Benchmark. A test set: do not train on it.",
    ),
    KnownSet(
        "RMB best of n",
        "",
        ("conversation_input", "bon_best.answer", "loser_list.*.answer"),
        Columns(
            prompt="conversation_input",
            chosen="bon_best.answer",
            rejected="loser_list.*.answer",
            subset="category_path",
        ),
        "ai_judge",
        note="A row gives the best response against one of the others. A test set: do not train "
        "on it.",
    ),
    KnownSet(
        "Fine-Grained RLHF",
        "",
        ("question", "passages", *(f"prediction {n}" for n in range(1, 5)), "preference"),
        Columns(
            prompt="question",
            context="context",
            response_a="response_a",
            response_b="response_b",
            label="label",
            label_a="1",
            label_b="2",
            label_tie="0",
        ),
        expand=compared_predictions,
        note="github.com/allenai/FineGrainedRLHF, qa_feedback. A row gives the six comparisons of "
        "its four predictions; passages come before the question. Spans and corrections are not "
        "read.",
    ),
    KnownSet(
        "E2E ratings",
        "",
        ("prompt", *_DIALOGUES, "votes_chosen", "votes_rejected"),
        Columns(
            prompt="prompt",
            chosen="chosen",
            rejected="rejected",
            chosen_score="votes_chosen",
            rejected_score="votes_rejected",
        ),
        fits=_are_texts("prompt", *_DIALOGUES),
        note="The ratings are the numbers of raters for each side; votes for neither are not read.",
    ),
)
"""The first set that fits a row is used, so the most specific stand first."""
