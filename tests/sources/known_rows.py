"""Own short rows in the columns of every known set."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

Values = dict[str, object]


@dataclass(frozen=True)
class Question:
    """A question with its better and its worse response.

    `swapped`: where a row has sides, the worse response comes first. `tie`: labels and ratings
    prefer neither.
    """

    number: int
    text: str
    good: str
    bad: str
    tie: bool = False

    @property
    def swapped(self) -> bool:
        return self.number % 2 == 1

    @property
    def sides(self) -> tuple[str, str]:
        return (self.bad, self.good) if self.swapped else (self.good, self.bad)

    def label(self, first: object, second: object, tie: object = None) -> object:
        """The label of a row whose sides are `sides`."""
        if self.tie:
            return tie
        return second if self.swapped else first

    def score(self, good: float, bad: float) -> tuple[float, float]:
        """Ratings of the good and of the bad response."""
        return (good, good) if self.tie else (good, bad)

    @property
    def rated(self) -> list[tuple[str, float]]:
        """Responses with ratings, in the order of `sides`."""
        good, bad = self.score(4.0, 2.0)
        return [(text, good if text == self.good else bad) for text in self.sides]


QUESTIONS = (
    Question(0, "Which bird swims?", "The penguin swims well.", "The robin swims well."),
    Question(1, "Name a metal.", "Copper is a metal.", "Copper is a fruit."),
    Question(2, "What is frozen water?", "Ice is frozen water.", "Steam is frozen water."),
    Question(3, "Name a planet.", "Mars is a planet.", "Mud is a planet."),
)
TIE = Question(4, "Name a tree.", "The oak is a tree.", "The elm is a tree.", tie=True)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def dialogue(question: str, response: str) -> list[dict[str, str]]:
    return [user(question), assistant(response)]


def parts(text: str) -> list[dict[str, object]]:
    return [{"type": "text", "text": text, "image": None, "mimeType": None}]


@dataclass(frozen=True)
class Sample:
    """Rows of a set: `rows` makes those of one question.

    `ties`: whether the set's rows can prefer neither side. `turns`: the prompt's messages.
    """

    rows: Callable[[Question], list[Values]]
    ties: bool = True
    turns: Callable[[str], list[tuple[str, str]]] = lambda text: [("user", text)]


def _tldr(q: Question) -> list[Values]:
    summaries = [{"text": f" {side}", "policy": "sup1", "note": None} for side in q.sides]
    return [
        {
            "info": {"id": "t3", "post": "Some post.", "title": q.text, "subreddit": "pets"},
            "summaries": summaries,
            "choice": q.label(0, 1),
            "worker": "w1",
            "batch": "batch3",
            "split": "train",
            "extra": {"confidence": 8},
        }
    ]


def _ultrafeedback(q: Question, *, aspects: bool) -> list[Values]:
    completions = [
        {
            "annotations": {},
            "custom_system_prompt": "Be kind.",
            "model": "m",
            "principle": "helpfulness",
            "response": text,
            "critique": "c",
            "overall_score": 2 * rating,
            **({"fine-grained_score": rating} if aspects else {}),
        }
        for text, rating in q.rated
    ]
    return [
        {
            "source": "flan",
            "instruction": q.text,
            "models": ["m", "m"],
            "completions": completions,
            "correct_answers": ["None"],
            "incorrect_answers": ["None"],
        }
    ]


def _binarized(q: Question) -> list[Values]:
    good, bad = q.score(8.0, 3.0)
    return [
        {
            "prompt": q.text,
            "prompt_id": f"p{q.number}",
            "chosen": dialogue(q.text, q.good),
            "rejected": dialogue(q.text, q.bad),
            "messages": dialogue(q.text, q.good),
            "score_chosen": good,
            "score_rejected": bad,
        }
    ]


def _argilla_texts(q: Question) -> list[Values]:
    good, bad = q.score(4.75, 2.5)
    return [
        {
            "source": "flan",
            "instruction": q.text,
            "chosen_response": q.good,
            "rejected_response": q.bad,
            "chosen_avg_rating": good,
            "rejected_avg_rating": bad,
            "chosen_model": "m",
        }
    ]


def _argilla_cleaned(q: Question) -> list[Values]:
    good, bad = q.score(4.75, 2.5)
    return [
        {
            "source": "flan",
            "prompt": q.text,
            "chosen": dialogue(q.text, q.good),
            "chosen-rating": good,
            "chosen-model": "m",
            "rejected": dialogue(q.text, q.bad),
            "rejected-rating": bad,
            "rejected-model": "n",
        }
    ]


def _helpsteer(q: Question) -> list[Values]:
    return [
        {
            "prompt": q.text,
            "response": text,
            "helpfulness": int(rating),
            "correctness": 3,
            "coherence": 4,
            "complexity": 1,
            "verbosity": 1,
        }
        for text, rating in q.rated
    ]


def _helpsteer2(q: Question) -> list[Values]:
    first, second = q.sides
    return [
        {
            "split": "train",
            "prompt": q.text,
            "response_1": first,
            "response_2": second,
            "preference_strength": q.label(-2, 1, 0),
            "preference_statement": "s",
            "preference_elaboration": "e",
            "three_most_similar_preferences": [],
            "all_preferences_unprocessed": [],
        }
    ]


def _helpsteer3(q: Question) -> list[Values]:
    first, second = q.sides
    return [
        {
            "domain": "general",
            "language": "english",
            "context": [user("Hello"), assistant("Hi!"), user(q.text)],
            "response1": first,
            "response2": second,
            "overall_preference": q.label(-3, 2, 0),
            "individual_preference": [{"score": 1, "reasoning": "r", "feedback1": "f"}],
        }
    ]


def _pku(q: Question) -> list[Values]:
    first, second = q.sides
    return [
        {
            "prompt": q.text,
            "response_0": first,
            "response_1": second,
            "prompt_source": "p",
            "response_0_source": "a",
            "response_1_source": "b",
            "is_response_0_safe": True,
            "is_response_1_safe": True,
            "better_response_id": q.label(0, 1),
            "safer_response_id": 0,
        }
    ]


def _nectar(q: Question) -> list[Values]:
    ranks = {q.good: 1.0, q.bad: 2.0}
    return [
        {
            "prompt": f"\n\nHuman: {q.text}\n\nAssistant: ",
            "answers": [
                {"answer": text, "model": "m", "rank": 1.0 if q.tie else ranks[text]}
                for text in q.sides
            ],
            "turns": 1,
            "num_responses": 2,
            "source": ["lmsys-chat-1m"],
            "good_natured": True,
        }
    ]


def _shp(q: Question) -> list[Values]:
    first, second = q.sides
    return [
        {
            "post_id": f"p{q.number}",
            "domain": "askscience_train",
            "upvote_ratio": 0.98,
            "history": q.text,
            "c_root_id_A": "a",
            "c_root_id_B": "b",
            "created_at_utc_A": 1,
            "created_at_utc_B": 2,
            "score_A": q.label(7, 4),
            "score_B": q.label(4, 7),
            "human_ref_A": first,
            "human_ref_B": second,
            "labels": q.label(1, 0),
            "seconds_difference": 1.0,
            "score_ratio": 1.75,
        }
    ]


def _webgpt(q: Question) -> list[Values]:
    first, second = q.sides
    score = q.label(0.5, -0.5, 0.0)
    assert isinstance(score, float)
    return [
        {
            "question": {"dataset": "eli5", "id": f"q{q.number}", "full_text": q.text},
            "quotes_0": {"title": [], "extract": []},
            "answer_0": first,
            "tokens_0": {"prefix": [], "completion": []},
            "score_0": score,
            "quotes_1": {"title": [], "extract": []},
            "answer_1": second,
            "tokens_1": {"prefix": [], "completion": []},
            "score_1": -score,
        }
    ]


def _stack_exchange(q: Question) -> list[Values]:
    return [
        {
            "qid": q.number,
            "question": q.text,
            "date": "2020/01/01",
            "metadata": ["https://example.org"],
            "response_j": q.good,
            "response_k": q.bad,
        }
    ]


def _oasst_message(name: str, parent: str | None, text: str, role: str, rank: int | None) -> Values:
    return {
        "message_id": name,
        "parent_id": parent,
        "user_id": "u",
        "created_date": "2023-02-05",
        "text": text,
        "role": role,
        "lang": "en",
        "review_count": 3,
        "review_result": True,
        "deleted": False,
        "rank": rank,
        "synthetic": False,
        "model_name": None,
        "message_tree_id": name.split("-")[0],
        "tree_state": "ready_for_export",
    }


def _ranks(q: Question) -> list[tuple[str, int]]:
    return [(text, 0 if q.tie or text == q.good else 1) for text in q.sides]


def _oasst(q: Question) -> list[Values]:
    tree = f"t{q.number}"
    replies = [
        _oasst_message(f"{tree}-{index}", f"{tree}-q", text, "assistant", rank)
        for index, (text, rank) in enumerate(_ranks(q))
    ]
    return [
        _oasst_message(tree, None, "Hello", "prompter", None),
        _oasst_message(f"{tree}-h", tree, "Hi!", "assistant", 0),
        _oasst_message(f"{tree}-q", f"{tree}-h", q.text, "prompter", None),
        *replies,
    ]


def _oasst_tree(q: Question) -> list[Values]:
    tree = f"t{q.number}"
    replies = [
        {**_oasst_message(f"{tree}-{rank}", None, text, "assistant", rank), "replies": []}
        for text, rank in _ranks(q)
    ]
    question = {**_oasst_message(f"{tree}-q", None, q.text, "prompter", None), "replies": replies}
    answer = {**_oasst_message(f"{tree}-h", None, "Hi!", "assistant", 0), "replies": [question]}
    prompt = {**_oasst_message(tree, None, "Hello", "prompter", None), "replies": [answer]}
    return [{"message_tree_id": tree, "tree_state": "ready_for_export", "prompt": prompt}]


def _arena(q: Question) -> list[Values]:
    first, second = q.sides
    return [
        {
            "question_id": f"q{q.number}",
            "model_a": "m",
            "model_b": "n",
            "winner": q.label("model_a", "model_b", "tie (bothbad)"),
            "judge": "arena_user_1",
            "conversation_a": dialogue(q.text, first),
            "conversation_b": dialogue(q.text, second),
            "turn": 1,
            "anony": True,
            "language": "English",
            "tstamp": 1.0,
            "openai_moderation": {},
            "toxic_chat_tag": {},
        }
    ]


def _arena_parts(q: Question) -> list[Values]:
    first, second = (
        [
            {"role": "user", "content": parts(q.text)},
            {"role": "assistant", "content": parts(side)},
        ]
        for side in q.sides
    )
    return [
        {
            "id": f"q{q.number}",
            "model_a": "m",
            "model_b": "n",
            "winner": q.label("model_a", "model_b", "both_bad"),
            "evaluation_session_id": "e",
            "evaluation_order": 1,
            "conversation_a": first,
            "conversation_b": second,
            "full_conversation": [],
            "conv_metadata": {},
            "category_tag": {},
            "language": "en",
            "is_code": False,
            "timestamp": "2025-07-01",
        }
    ]


def _arena_lists(q: Question) -> list[Values]:
    first, second = q.sides
    return [
        {
            "id": q.number,
            "model_a": "m",
            "model_b": "n",
            "prompt": json.dumps(["Hello", q.text]),
            "response_a": json.dumps(["Hi!", first]),
            "response_b": json.dumps(["Hi!", second]),
            "winner_model_a": q.label(1, 0, 0),
            "winner_model_b": q.label(0, 1, 0),
            "winner_tie": int(q.tie),
        }
    ]


def _orca(q: Question) -> list[Values]:
    return [
        {"system": "Be brief.", "question": q.text, "chosen": q.good, "rejected": q.bad},
    ]


def _orca_rated(q: Question) -> list[Values]:
    return [
        {
            "system": "Be brief.",
            "input": q.text,
            "chosen": q.good,
            "rejected": q.bad,
            "generations": list(q.sides),
            "order": ["chosen", "rejected"],
            "labelling_model": "m",
            "labelling_prompt": [],
            "raw_labelling_response": "r",
            "rating": None if q.tie else [rating for _, rating in q.rated],
            "rationale": "r",
            "status": q.label("unchanged", "swapped", "tie"),
            "original_chosen": q.good,
            "original_rejected": q.bad,
            "chosen_score": None if q.tie else 9.0,
            "in_gsm8k_train": False,
        }
    ]


def _math(q: Question) -> list[Values]:
    good, bad = q.score(10.0, 4.0)
    return [
        {
            "metadata": "m",
            "instruction": q.text,
            "chosen_response": q.good,
            "chosen_rating": good,
            "rejected_response": q.bad,
            "rejected_rating": bad,
        }
    ]


def _dpo_mix(q: Question) -> list[Values]:
    good, bad = q.score(5.0, 4.0)
    return [
        {
            "dataset": "argilla/ultrafeedback-binarized-preferences-cleaned",
            "chosen": dialogue(q.text, q.good),
            "rejected": dialogue(q.text, q.bad),
            "chosen_rating": good,
            "rejected_rating": bad,
        }
    ]


def _capybara(q: Question) -> list[Values]:
    good, bad = q.score(5, 3)
    before = dialogue("Hello", "Hi!")
    return [
        {
            "source": "Dove",
            "conversation": [{"input": "Hello", "output": "Hi!"}, {"input": q.text, "output": "o"}],
            "original_response": q.good,
            "generation_prompt": ["g"],
            "raw_generation_responses": ["r"],
            "new_generations": [q.bad],
            "prompt": q.text,
            "chosen": [*before, *dialogue(q.text, q.good)],
            "rejected": [*before, *dialogue(q.text, q.bad)],
            "rating_chosen": good,
            "rating_rejected": bad,
            "chosen_model": "m",
            "rejected_model": "n",
        }
    ]


def _ultrainteract(q: Question) -> list[Values]:
    return [
        {
            "task": "Coding",
            "dataset": "d",
            "trajectory": [{"from": "user", "value": q.text}],
            "id": "same",
            "chosen": q.good,
            "rejected": q.bad,
        }
    ]


def _openai(q: Question) -> list[Values]:
    return [
        {
            "input": {"messages": [user(q.text)], "tools": [], "parallel_tool_calls": True},
            "preferred_output": [assistant(q.good)],
            "non_preferred_output": [assistant(q.bad)],
        }
    ]


def _sharegpt(q: Question) -> list[Values]:
    return [
        {
            "conversations": [
                {"from": "human", "value": "Hello"},
                {"from": "gpt", "value": "Hi!"},
                {"from": "human", "value": q.text},
            ],
            "chosen": {"from": "gpt", "value": q.good},
            "rejected": {"from": "gpt", "value": q.bad},
        }
    ]


def _alpaca(q: Question) -> list[Values]:
    return [
        {
            "instruction": "Answer the question.",
            "input": q.text,
            "chosen": q.good,
            "rejected": q.bad,
            "system": "Be brief.",
            "history": [["Hello", "Hi!"]],
        }
    ]


def _llamafactory_kto(q: Question) -> list[Values]:
    return [
        {
            "instruction": "Answer the question.",
            "input": q.text,
            "output": text,
            "kto_tag": q.tie or text == q.good,
        }
        for text in q.sides
    ]


def _kto(q: Question) -> list[Values]:
    return [
        {
            "prompt": [user(q.text)],
            "completion": [assistant(text)],
            "label": q.tie or text == q.good,
        }
        for text in q.sides
    ]


def _kto_dialogues(q: Question) -> list[Values]:
    return [
        {"messages": dialogue(q.text, text), "label": q.tie or text == q.good} for text in q.sides
    ]


def _swift(q: Question) -> list[Values]:
    return [{"messages": dialogue(q.text, q.good), "rejected_response": q.bad}]


def _swift_dialogues(q: Question) -> list[Values]:
    sides = dialogue(q.text, q.good), dialogue(q.text, q.bad)
    return [dict(zip(("messages", "rejected_messages"), sides, strict=True))]


def _swift_query(q: Question) -> list[Values]:
    sides = {"response": q.good, "rejected_response": q.bad}
    return [{"query": q.text, **sides, "system": "Be brief.", "history": []}]


def _kto_sharegpt(q: Question) -> list[Values]:
    return [
        {
            "conversations": [
                {"from": "human", "value": q.text},
                {"from": "gpt", "value": text},
            ],
            "kto_tag": q.tie or text == q.good,
            "system": "Be brief.",
        }
        for text in q.sides
    ]


def _preference_collection(q: Question) -> list[Values]:
    first, second = q.sides
    return [
        {
            "orig_criteria": "c",
            "orig_feedback_A": "f",
            "orig_feedback_B": "f",
            "orig_instruction": q.text,
            "orig_reference_answer": "r",
            "orig_response_A": first,
            "orig_response_B": second,
            "orig_score_A": q.label("4", "2"),
            "orig_score_B": q.label("2", "4"),
            "orig_preference": q.label("A", "B"),
            "instruction": "Judge.",
            "output": "o",
        }
    ]


def _feedback_collection(q: Question) -> list[Values]:
    return [
        {
            "orig_criteria": "c",
            "orig_feedback": "f",
            "orig_instruction": q.text,
            "orig_reference_answer": "r",
            "orig_response": text,
            "orig_score": f"{rating:g}",
            "instruction": "Judge.",
            "output": "o",
        }
        for text, rating in q.rated
    ]


def _rewardbench(q: Question) -> list[Values]:
    return [
        {
            "prompt": q.text,
            "chosen": q.good,
            "chosen_model": "m",
            "rejected": q.bad,
            "rejected_model": "n",
            "subset": "alpacaeval-easy",
            "id": 0,
        }
    ]


def _rewardbench2(q: Question) -> list[Values]:
    return [
        {
            "id": str(q.number),
            "prompt": q.text,
            "chosen": [q.good],
            "rejected": [q.bad],
            "num_correct": 1,
            "num_incorrect": 1,
            "total_completions": 2,
            "models": ["m", "n"],
            "subset": "Factuality",
            "additional_metadata": {},
        }
    ]


def _rm_bench(q: Question) -> list[Values]:
    return [
        {"id": "i", "prompt": q.text, "chosen": [q.good], "rejected": [q.bad], "domain": "chat"},
    ]


def _judgebench(q: Question) -> list[Values]:
    first, second = q.sides
    return [
        {
            "pair_id": f"p{q.number}",
            "original_id": "o",
            "source": "mmlu-pro",
            "question": q.text,
            "response_model": "m",
            "response_A": first,
            "response_B": second,
            "label": q.label("A>B", "B>A"),
        }
    ]


def _llmbar(q: Question) -> list[Values]:
    first, second = q.sides
    return [{"input": q.text, "output_1": first, "output_2": second, "label": q.label(1, 2)}]


def _alpacafarm(q: Question) -> list[Values]:
    first, second = q.sides
    return [
        {
            "instruction": "Answer the question.",
            "input": q.text,
            "output_1": first,
            "output_2": second,
            "preference": q.label(1, 2),
        }
    ]


def _pandalm(q: Question) -> list[Values]:
    first, second = q.sides
    return [
        {
            "idx": q.number,
            "motivation_app": "Grammarly",
            "cmp_key": "m_n",
            "instruction": q.text,
            "input": None,
            "response1": first,
            "response2": second,
            "annotator1": q.label(1, 2, 0),
            "annotator2": q.label(2, 1, 0),
            "annotator3": q.label(1, 2, 0),
        }
    ]


def _rmb(q: Question) -> list[Values]:
    return [
        {
            "pair_uid": str(q.number),
            "conversation_input": [{"content": q.text, "language": "English", "role": "user"}],
            "chosen": {"llm_name": "m", "answer": q.good, "score": 5.0},
            "reject": {"llm_name": "n", "answer": q.bad, "score": 4.5},
            "category_path": "Pairwise_set/Helpfulness/Chat/Discussion",
        }
    ]


def _rmb_best(q: Question) -> list[Values]:
    return [
        {
            "conversation_input": [{"content": q.text, "language": "English", "role": "user"}],
            "bon_best": {"llm_name": "m", "answer": q.good},
            "loser_list": [{"llm_name": "n", "answer": q.bad}],
            "bon_uid": str(q.number),
            "category_path": "BoN_set/Helpfulness/Chat/Discussion",
        }
    ]


def _fine_grained(q: Question) -> list[Values]:
    """Only the comparison of 1 and 2 has a preference."""
    first, second = q.sides
    return [
        {
            "question": q.text,
            "passages": [["Nature", "A first sentence.", "A second one."]],
            "gold": q.good,
            "prediction 1": first,
            "prediction 2": second,
            "prediction 3": "Nobody knows.",
            "prediction 4": "Everybody knows.",
            "feedback": {"errors": [], "missing-info": [], "corrected-prediction": "c"},
            "preference": [q.label(1, 2, 0), 0, 0, 0, 0, 0],
        }
    ]


def _e2e(q: Question) -> list[Values]:
    good, bad = q.score(4, 1)
    return [
        {
            "prompt": q.text,
            "chosen": q.good,
            "rejected": q.bad,
            "votes_chosen": good,
            "votes_rejected": bad,
            "votes_equal": 1,
        }
    ]


def _after_hello(text: str) -> list[tuple[str, str]]:
    return [("user", "Hello"), ("assistant", "Hi!"), ("user", text)]


def _with_system(text: str) -> list[tuple[str, str]]:
    return [("system", "Be brief."), ("user", text)]


def _with_input(text: str) -> list[tuple[str, str]]:
    return [("user", f"Answer the question.\n{text}")]


SAMPLES: dict[str, Sample] = {
    "TL;DR comparisons": Sample(
        _tldr,
        ties=False,
        turns=lambda text: [
            ("user", f"SUBREDDIT: r/pets\nTITLE: {text}\nPOST: Some post.\nTL;DR:")
        ],
    ),
    "UltraFeedback": Sample(lambda q: _ultrafeedback(q, aspects=True)),
    "UltraFeedback without aspects": Sample(lambda q: _ultrafeedback(q, aspects=False)),
    "UltraFeedback binarized": Sample(_binarized),
    "UltraFeedback binarized by Argilla": Sample(_argilla_texts),
    "UltraFeedback cleaned by Argilla": Sample(_argilla_cleaned),
    "HelpSteer": Sample(_helpsteer),
    "HelpSteer2 preferences": Sample(_helpsteer2),
    "HelpSteer3 preferences": Sample(_helpsteer3, turns=_after_hello),
    "PKU-SafeRLHF": Sample(_pku, ties=False),
    "Nectar": Sample(_nectar),
    "SHP": Sample(_shp, ties=False),
    "WebGPT comparisons": Sample(_webgpt),
    "Stack Exchange paired": Sample(_stack_exchange, ties=False),
    "OASST": Sample(_oasst, turns=_after_hello),
    "OASST trees": Sample(_oasst_tree, turns=_after_hello),
    "LMSYS arena": Sample(_arena),
    "LMSYS arena 55k": Sample(_arena_lists, turns=_after_hello),
    "Orca DPO pairs rated by distilabel": Sample(_orca_rated, turns=_with_system),
    "Orca DPO pairs": Sample(_orca, ties=False, turns=_with_system),
    "Math preferences of distilabel": Sample(_math),
    "DPO mix 7k": Sample(_dpo_mix),
    "Capybara preferences of distilabel": Sample(_capybara, turns=_after_hello),
    "UltraInteract": Sample(_ultrainteract, ties=False),
    "OpenAI preference fine-tuning": Sample(_openai, ties=False),
    "LLaMA-Factory preferences, sharegpt form": Sample(_sharegpt, ties=False, turns=_after_hello),
    "LLaMA-Factory preferences, alpaca form": Sample(
        _alpaca,
        ties=False,
        turns=lambda text: [
            ("system", "Be brief."),
            ("user", "Hello"),
            ("assistant", "Hi!"),
            *_with_input(text),
        ],
    ),
    "LLaMA-Factory KTO, alpaca form": Sample(_llamafactory_kto, turns=_with_input),
    "KTO": Sample(_kto),
    "KTO, whole dialogues": Sample(_kto_dialogues),
    "LLaMA-Factory KTO, sharegpt form": Sample(_kto_sharegpt, turns=_with_system),
    "ms-swift preferences": Sample(_swift, ties=False),
    "ms-swift preferences, two dialogues": Sample(_swift_dialogues, ties=False),
    "ms-swift preferences, query and response": Sample(
        _swift_query, ties=False, turns=_with_system
    ),
    "Preference Collection": Sample(_preference_collection, ties=False),
    "Feedback Collection": Sample(_feedback_collection),
    "RewardBench": Sample(_rewardbench, ties=False),
    "RewardBench 2": Sample(_rewardbench2, ties=False),
    "RM-Bench": Sample(_rm_bench, ties=False),
    "JudgeBench": Sample(_judgebench, ties=False),
    "LLMBar": Sample(_llmbar, ties=False),
    "AlpacaFarm": Sample(_alpacafarm, ties=False, turns=_with_input),
    "PandaLM": Sample(_pandalm),
    "RMB pairs": Sample(_rmb, ties=False),
    "RMB best of n": Sample(_rmb_best, ties=False),
    "Fine-Grained RLHF": Sample(
        _fine_grained,
        turns=lambda text: [("user", f"Nature\nA first sentence. A second one.\n\n{text}")],
    ),
    "E2E ratings": Sample(_e2e),
}

OTHER_FORMS: dict[str, tuple[str, Sample]] = {
    "arena with parts": ("LMSYS arena", Sample(_arena_parts)),
    "PKU-SafeRLHF-30K": (
        "PKU-SafeRLHF",
        Sample(
            lambda q: [
                {k: v for k, v in row.items() if not k.endswith("_source")} for row in _pku(q)
            ],
            ties=False,
        ),
    ),
    "KTO as texts": (
        "KTO",
        Sample(
            lambda q: [
                {"prompt": q.text, "completion": text, "label": q.tie or text == q.good}
                for text in q.sides
            ]
        ),
    ),
    "alpaca without input": (
        "LLaMA-Factory preferences, alpaca form",
        Sample(
            lambda q: [
                {"instruction": q.text, "input": "", "chosen": q.good, "rejected": q.bad},
            ],
            ties=False,
        ),
    ),
}
"""Other columns of a set: name of the form -> name of the set, rows."""


def rows_of_sample(sample: Sample) -> list[Values]:
    """The rows of four questions, and of a tie where the set has ties."""
    questions = (*QUESTIONS, TIE) if sample.ties else QUESTIONS
    return [row for question in questions for row in sample.rows(question)]
