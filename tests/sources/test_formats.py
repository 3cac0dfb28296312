"""Every form of preferences, on rows with the original's own columns."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path

import polars as pl
import pytest

from westofn.errors import DataError
from westofn.sources.collect import Collected, Reading, collect_pairs, parts_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "data.md"

USER = [{"role": "user", "content": "Hi"}]
CHOSEN = [{"role": "assistant", "content": "Hello."}]
REJECTED = [{"role": "assistant", "content": "No."}]
DIALOGUE = "\n\nHuman: Hi\n\nAssistant:"


def save(rows: Sequence[object], path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path, source: str = "files", **how: object) -> Collected:
    return collect_pairs(
        parts_of(path, 0, "prepare.path", keep_faulty=how.get("bad_rows") == "drop"),
        Reading(source, **how),  # type: ignore[arg-type]
        path,
    )


def collect(rows: Sequence[object], tmp_path: Path, source: str = "files") -> Collected:
    return read(save(rows, tmp_path / "rows.jsonl"), source)


def only(rows: Sequence[object], tmp_path: Path, source: str = "files") -> tuple[str, str, str]:
    (pair,) = collect(rows, tmp_path, source).pairs
    return pair.prompt, pair.chosen, pair.rejected


def refusal(rows: Sequence[object], tmp_path: Path, source: str = "files") -> str:
    with pytest.raises(DataError) as caught:
        collect(rows, tmp_path, source)
    text = str(caught.value)
    assert "\n" not in text
    return text.removeprefix(f"{tmp_path / 'rows.jsonl'}")


def dropped(found: Collected) -> dict[str, int]:
    return {name: n for name, n in found.counts.items() if name.startswith("dropped_") and n}


def examples() -> list[tuple[str, str, str]]:
    """(heading, kind of file, content) of every block of examples in the page."""
    found: list[tuple[str, str, str]] = []
    for section in PAGE.read_text("utf-8").split("\n### ")[1:]:
        heading = section.splitlines()[0]
        found += [
            (heading, kind, content)
            for kind, content in re.findall(r"^```(\w+)\n(.*?)^```", section, re.M | re.S)
            if kind in ("jsonl", "csv")
        ]
    assert len(found) >= 9
    return found


@pytest.mark.parametrize(("heading", "kind", "content"), examples())
def test_the_examples_of_the_page_are_what_it_says(
    heading: str, kind: str, content: str, tmp_path: Path
) -> None:
    file = tmp_path / f"example.{kind}"
    file.write_text(content)
    found = read(file)
    assert found.formats == (heading,)
    assert found.counts["rows_in"] >= 4
    assert dropped(found) == {}


class TestTexts:
    def test_hh_and_files_read_dialogues_alike(self, tmp_path: Path) -> None:
        rows = [{"chosen": f"{DIALOGUE} Hello.", "rejected": f"{DIALOGUE} No."}]
        assert only(rows, tmp_path) == only(rows, tmp_path, "hh") == (DIALOGUE, "Hello.", "No.")

    def test_an_implicit_prompt_ends_with_the_last_word_that_both_share(
        self, tmp_path: Path
    ) -> None:
        rows = [{"chosen": "The sky is blue.", "rejected": "The sky is black."}]
        assert only(rows, tmp_path) == ("The sky is", "blue.", "black.")

    @pytest.mark.parametrize(
        ("chosen", "rejected", "prompt"),
        [
            ("Q: hi there\ngood", "Q: hi there\ngreat", "Q: hi there"),
            ("Question\ngood", "Question\ngreat", "Question"),
            ("  Question\n\tgood one", "  Question\n\tgreat", "Question"),
            ("Question\ngood", "Question\nbad", "Question"),
        ],
    )
    def test_any_white_space_ends_a_word_of_an_implicit_prompt(
        self, chosen: str, rejected: str, prompt: str, tmp_path: Path
    ) -> None:
        responses = (side.strip().removeprefix(prompt).strip() for side in (chosen, rejected))
        expected = (prompt, *responses)
        assert only([{"chosen": chosen, "rejected": rejected}], tmp_path) == expected

    def test_texts_that_share_no_word_are_dropped(self, tmp_path: Path) -> None:
        rows = [
            {"chosen": "Yes it is", "rejected": "Yesterday it was"},
            {"chosen": "a b", "rejected": "a c"},
        ]
        assert dropped(collect(rows, tmp_path)) == {"dropped_no_shared_prompt": 1}

    def test_hh_needs_a_prompt_or_dialogues(self, tmp_path: Path) -> None:
        rows = [{"chosen": "The sky is blue.", "rejected": "The sky is green."}]
        assert refusal(rows, tmp_path, "hh").startswith(":1: column prompt is missing")

    def test_messages_as_json_text_are_read_and_in_other_notations_refused(
        self, tmp_path: Path
    ) -> None:
        chosen, rejected = json.dumps(USER + CHOSEN), json.dumps({"messages": USER + REJECTED})
        read_pair = only([{"chosen": chosen, "rejected": rejected}], tmp_path)
        assert read_pair == (DIALOGUE, "Hello.", "No.")
        rows = [{"chosen": chosen, "rejected": str(USER + REJECTED)}]
        assert "is a list of messages in Python's notation" in refusal(rows, tmp_path)


class TestConversations:
    def test_a_prompt_apart_or_inside_is_the_same_pair(self, tmp_path: Path) -> None:
        apart = {"prompt": USER, "chosen": CHOSEN, "rejected": REJECTED}
        inside = {"chosen": USER + CHOSEN, "rejected": USER + REJECTED}
        both = {"prompt": USER, **inside}
        for row in (apart, inside, both):
            assert only([row], tmp_path) == (DIALOGUE, "Hello.", "No.")

    def test_binarized_ultrafeedback(self, tmp_path: Path) -> None:
        row = {
            "prompt": "Hi",
            "prompt_id": "8f4b",
            "chosen": USER + CHOSEN,
            "rejected": USER + REJECTED,
            "messages": USER + CHOSEN,
            "score_chosen": 8.0,
            "score_rejected": 5.0,
        }
        tie = {**row, "score_rejected": 8.0}
        path = tmp_path / "train_prefs.parquet"
        pl.DataFrame([row, tie]).write_parquet(path)
        found = read(path, "ultrafeedback")
        (pair,) = found.pairs
        assert (pair.prompt, pair.chosen, pair.rejected) == (DIALOGUE, "Hello.", "No.")
        assert pair.label_source == "ai_judge"
        assert dropped(found) == {"dropped_tie": 1}

    def test_sides_of_different_dialogues_are_dropped(self, tmp_path: Path) -> None:
        good = {"prompt": USER, "chosen": CHOSEN, "rejected": REJECTED}
        other = [{"role": "user", "content": "Bye"}]
        bad = {"chosen": USER + CHOSEN, "rejected": other + REJECTED}
        found = collect([good, bad], tmp_path)
        assert dropped(found) == {"dropped_sides_differ_before_last_turn": 1}

    @pytest.mark.parametrize(
        ("row", "needed"),
        [
            ({"chosen": USER, "rejected": USER + REJECTED}, "end with roles user, assistant"),
            ({"chosen": [], "rejected": REJECTED}, "end with roles none, assistant"),
            (
                {"chosen": [{"role": "tool", "content": "x"}], "rejected": REJECTED},
                "has a message with role tool, a tool call",
            ),
            (
                {"chosen": [{"speaker": "gpt", "text": "x"}], "rejected": REJECTED},
                "entry of 'speaker, text', needs messages with role and content",
            ),
            (
                {"prompt": USER, "chosen": [{"role": "cat", "content": "x"}], "rejected": REJECTED},
                "role 'cat'; supported: system, developer, user",
            ),
            (
                {"prompt": USER, "chosen": CHOSEN, "rejected": "No."},
                "column rejected is a text and the other side a dialogue",
            ),
            (
                {
                    "chosen": USER + CHOSEN,
                    "rejected": USER + REJECTED,
                    "score_chosen": 1,
                    "score_rejected": 2,
                },
                "score_chosen 1 is worse than score_rejected 2",
            ),
        ],
    )
    def test_a_bad_row_is_refused_with_its_line(
        self, tmp_path: Path, row: object, needed: str
    ) -> None:
        good = {"prompt": USER, "chosen": CHOSEN, "rejected": REJECTED}
        text = refusal([good, row], tmp_path)
        assert text.startswith(":2: ")
        assert needed in text


class TestRatings:
    def test_the_best_is_chosen_and_the_other_is_any_of_the_lower(self, tmp_path: Path) -> None:
        rows = [
            {"prompt": f"q{number}", "responses": ["a", "b", "c", "d"], "scores": [1, 4, 2, 3]}
            for number in range(60)
        ]
        pairs = collect(rows, tmp_path).pairs
        assert {pair.chosen for pair in pairs} == {"b"}
        assert {pair.rejected for pair in pairs} == {"a", "c", "d"}

    def test_the_other_follows_from_seed_and_prompt_alone(self, tmp_path: Path) -> None:
        rows = [
            {"prompt": f"q{number}", "responses": ["a", "b", "c", "d"], "scores": [1, 4, 2, 3]}
            for number in range(20)
        ]
        turned = [
            {**row, "responses": ["d", "c", "b", "a"], "scores": [3, 2, 4, 1]} for row in rows[::-1]
        ]
        assert collect(rows, tmp_path).pairs == collect(turned, tmp_path).pairs
        path = save(rows, tmp_path / "rows.jsonl")
        assert read(path, seed=0).pairs != read(path, seed=1).pairs

    def test_equal_ratings_and_single_responses_are_dropped(self, tmp_path: Path) -> None:
        rows = [
            {"prompt": "q", "responses": ["a", "b"], "scores": [2, 1]},
            {"prompt": "r", "responses": ["a", "b"], "scores": [2, 2]},
            {"prompt": "s", "responses": ["a", " a "], "scores": [2, 1]},
        ]
        found = collect(rows, tmp_path)
        assert dropped(found) == {"dropped_tie": 1, "dropped_one_response": 1}

    def test_rated_rows_in_any_order_give_the_same_pair(self, tmp_path: Path) -> None:
        rows = [
            {"prompt": "Name it", "response": "a", "score": 1, "subset": "y"},
            {"prompt": "Name it ", "response": "b", "score": 3, "subset": "x"},
            {"prompt": "\nName it", "response": "c", "score": 2, "subset": "z"},
            {"prompt": "other", "response": "a", "score": 1, "subset": "z"},
            {"prompt": "other", "response": "b", "score": 2, "subset": "z"},
        ]
        expected = None
        for order in permutations(rows):
            file = save(order, tmp_path / "rows.jsonl")
            found = read(file, subsets=("x",))
            (pair,) = found.pairs
            assert (pair.prompt, pair.subset) == ("Name it", "x")
            expected = expected or found
            assert found == expected

    def test_rows_of_one_prompt_are_one_pair_wherever_they_stand(self, tmp_path: Path) -> None:
        rows = [
            {"prompt": "q", "response": "a", "score": 1},
            {"prompt": "r", "response": "c", "score": 1},
            {"prompt": "q ", "response": "b", "score": 2},
            {"prompt": "r", "response": "d", "score": 0},
        ]
        found = collect(rows, tmp_path)
        assert {(p.prompt, p.chosen, p.rejected) for p in found.pairs} == {
            ("q", "b", "a"),
            ("r", "c", "d"),
        }
        counts = found.counts
        assert (counts["rows_in"], counts["rows_out"], counts["merged_with_another_row"]) == (
            4,
            2,
            2,
        )

    @pytest.mark.parametrize(
        ("row", "needed"),
        [
            ({"prompt": "q", "responses": ["a"], "scores": [1, 2]}, "1 responses and 2 scores"),
            ({"prompt": "q", "responses": ["a", 2], "scores": [1, 2]}, "responses is a int"),
            ({"prompt": "q", "responses": ["a", "b"], "scores": [1, "x"]}, "scores is a str"),
            (
                {"prompt": "q", "responses": ["a", "b"], "score": [1, 2]},
                "fit no form of preferences",
            ),
            ({"prompt": "q", "response": "a", "score": "high"}, "score is a str ('high')"),
        ],
    )
    def test_a_bad_row_is_refused_with_its_line(
        self, tmp_path: Path, row: object, needed: str
    ) -> None:
        text = refusal([row], tmp_path)
        assert text.startswith(":1: ")
        assert needed in text


class TestUltraFeedback:
    @staticmethod
    def row(**scores: object) -> dict[str, object]:
        """With the columns of the original's files."""
        return {
            "source": "evol_instruct",
            "instruction": "Hi",
            "models": list(scores),
            "completions": [
                {
                    "annotations": {"helpfulness": {"Rating": "4", "Rationale": "…"}},
                    "custom_system_prompt": "",
                    "model": model,
                    "principle": "helpfulness",
                    "response": f"of {model}",
                    "critique": "…",
                    "overall_score": 5.0,
                    "fine-grained_score": score,
                }
                for model, score in scores.items()
            ],
            "correct_answers": ["None"],
            "incorrect_answers": ["None"],
        }

    def test_the_best_by_the_mean_of_aspects_against_another(self, tmp_path: Path) -> None:
        found = collect([self.row(a=3.75, b=4.25, c=1.0, d=4.0)], tmp_path, "ultrafeedback")
        (pair,) = found.pairs
        assert (pair.prompt, pair.chosen) == ("Hi", "of b")
        assert pair.rejected in ("of a", "of c", "of d")
        assert pair.label_source == "ai_judge"

    def test_completions_without_a_score_are_left_out(self, tmp_path: Path) -> None:
        row = self.row(a="N/A", b=None, c=1.0, d=2.0)
        assert only([row], tmp_path) == ("Hi", "of d", "of c")


class TestTldr:
    @staticmethod
    def row(choice: object = 1, confidence: object = None, **info: object) -> dict[str, object]:
        """With the columns of the original's files."""
        post = {"id": "t3_1", "post": "My cat sleeps.", "title": "Cat", "subreddit": "pets"}
        return {
            "info": {**post, "site": None, "article": None, **info},
            "summaries": [
                {"text": " Dog.", "policy": "sup1", "note": None},
                {"text": " Cat sleeps.", "policy": "ref", "note": "short"},
            ],
            "choice": choice,
            "worker": "qo6",
            "batch": "batch3",
            "split": "train",
            "extra": {"confidence": confidence},
        }

    def test_the_prompt_is_the_posts_forum_title_and_text(self, tmp_path: Path) -> None:
        prompt = "SUBREDDIT: r/pets\nTITLE: Cat\nPOST: My cat sleeps.\nTL;DR:"
        assert only([self.row(1)], tmp_path, "tldr") == (prompt, "Cat sleeps.", "Dog.")
        assert only([self.row(0)], tmp_path, "tldr") == (prompt, "Dog.", "Cat sleeps.")

    def test_confidence_is_kept_as_the_annotators_probability(self, tmp_path: Path) -> None:
        rows = [self.row(1, stated, post=f"post {stated}") for stated in (None, 1, 8, 9)]
        pairs = collect(rows, tmp_path, "tldr").pairs
        found = {pair.prompt.split("post ")[1][:4]: pair.p_chosen for pair in pairs}
        assert found["None"] is None
        assert [found[f"{stated}\nTL"] for stated in (1, 8, 9)] == pytest.approx(
            [0.5, 0.8, 0.8429], 1e-3
        )

    def test_of_annotators_who_agree_the_least_sure_counts(self, tmp_path: Path) -> None:
        rows = [self.row(1, stated) for stated in (None, 9, 8)]
        for order in (rows, rows[::-1]):
            found = collect(order, tmp_path, "tldr")
            assert [pair.p_chosen for pair in found.pairs] == [pytest.approx(0.8)]
            assert dropped(found) == {"dropped_duplicate_pair": 2}

    def test_articles_are_dropped(self, tmp_path: Path) -> None:
        article = self.row(post=None, title="News", subreddit=None, site="cnn", article="Long.")
        found = collect([self.row(), article], tmp_path, "tldr")
        assert dropped(found) == {"dropped_empty_prompt": 1}

    @pytest.mark.parametrize(
        ("row", "needed"),
        [
            ({"choice": 2}, "2 summaries and choice 2; needs two and 0 or 1"),
            ({"summaries": [{"text": "a"}]}, "1 summaries and choice 1"),
            ({"extra": {"confidence": 10}}, "extra.confidence is 10, needs 1 to 9"),
            ({"info": {"post": "a", "title": "b"}}, "column subreddit is missing"),
        ],
    )
    def test_a_bad_row_is_refused(
        self, tmp_path: Path, row: dict[str, object], needed: str
    ) -> None:
        assert needed in refusal([{**self.row(), **row}], tmp_path, "tldr")


class TestRecognition:
    def test_a_misspelt_column_is_named_with_the_nearest_form(self, tmp_path: Path) -> None:
        rows = [{"prompt": "a", "chosen": "b", "rejeted": "c"}]
        text = refusal(rows, tmp_path)
        assert text == (
            ":1: columns 'prompt, chosen, rejeted' fit no form of preferences; the nearest is "
            "“pairs”, which needs rejected (did you mean rejeted?): rename the columns, or name "
            "them in prepare.columns (docs/data.md)"
        )

    def test_files_of_several_forms_are_read_together(self, tmp_path: Path) -> None:
        save([{"prompt": "a", "chosen": "b", "rejected": "c"}], tmp_path / "one.jsonl")
        (tmp_path / "two.csv").write_text("prompt,response,score\nq,x,1\nq,y,2\n")
        found = read(tmp_path)
        assert found.formats == ("rated rows", "texts")
        assert len(found.pairs) == 2
