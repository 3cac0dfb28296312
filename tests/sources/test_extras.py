"""Demonstrations and unlabeled prompts from elsewhere, and data from the hub."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from huggingface_hub import constants

from westofn.errors import DataError
from westofn.params.prepare import PrepareParams
from westofn.params.whole import load_params
from westofn.sources import hub_rows as hub_module
from westofn.sources.data import SourceData
from westofn.sources.registry import load_preferences

DEFAULTS = load_params(Path(__file__).resolve().parents[2] / "params.yaml").prepare.model_dump()

Load = Callable[..., SourceData]


def words(seed: int, count: int = 12) -> str:
    return " ".join(random.Random(seed).choices([f"word{index}" for index in range(500)], k=count))


PAIRS = [
    {"prompt": words(row), "chosen": f"good {row}", "rejected": f"bad {row}"} for row in range(80)
]


def save(rows: Sequence[object], path: Path) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def prepare(**changes: Any) -> PrepareParams:
    files = {"validation_fraction": 0.2, "test_fraction": 0.2, "autorater_fraction": 0.2}
    base = {**DEFAULTS, "source": "files", "files": {**DEFAULTS["files"], **files}}
    return PrepareParams.model_validate({**base, **changes})


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load PAIRS with changed parameters; lists of rows become files."""

    def load(**changes: Any) -> SourceData:
        for key, rows in changes.items():
            if isinstance(rows, list):
                changes[key] = save(rows, tmp_path / f"{key}.jsonl")
        path = save(PAIRS, tmp_path / "pairs.jsonl")
        return load_preferences(prepare(**{"path": path, **changes}), 0)

    return load


def prompts_in(data: SourceData, split: str) -> set[str]:
    return set(data.preferences.filter(split=split)["prompt"])


class TestDemonstrations:
    def test_they_replace_the_chosen_responses(self, load: Load) -> None:
        rows = [{"prompt": words(1000 + row), "completion": f"said {row}"} for row in range(40)]
        data, plain = load(sft="file", sft_path=rows), load()
        assert set(data.sft["response"]) == {row["completion"] for row in rows}
        assert set(data.sft["split"]) == {"train", "validation"}
        assert data.preferences.equals(plain.preferences)
        assert data.prompts.equals(plain.prompts)
        assert data.counts["sft_rows_in"] == data.counts["sft_rows_out"] == 40

    @pytest.mark.parametrize(
        ("name", "true", "false"),
        [("label", True, False), ("label", 1, 0), ("label", "True", "FALSE"), ("kto_tag", 1, 0.0)],
    )
    @pytest.mark.parametrize("whole", [False, True])
    def test_undesired_responses_are_no_demonstrations(
        self, name: str, true: object, false: object, whole: bool, load: Load
    ) -> None:
        rows: list[dict[str, object]] = []
        for row in range(40):
            prompt, response = words(1000 + row), f"said {row}"
            turns = [
                {"role": "user", "content": prompt},
                {"role": "assistant", "content": response},
            ]
            values = {"messages": turns} if whole else {"prompt": prompt, "completion": response}
            rows.append({**values, name: true if row % 4 else false})
        data = load(sft="file", sft_path=rows)
        assert set(data.sft["response"]) == {f"said {row}" for row in range(40) if row % 4}
        assert data.counts["sft_dropped_undesired"] == 10

    def test_images_and_tools_are_refused(self, load: Load) -> None:
        for name in ("tools", "image"):
            rows = [{"prompt": "a", "completion": "b", name: ["x"]}]
            for extra in ({"sft": "file", "sft_path": rows},
                          {"unlabeled": "file", "unlabeled_path": rows}):  # fmt: skip
                with pytest.raises(DataError, match=f"column {name} has"):
                    load(**extra)

    def test_those_of_held_out_prompts_are_dropped_and_counted(self, load: Load) -> None:
        split_of = dict(load().preferences.select("prompt", "split").iter_rows())
        rows = [{"prompt": prompt, "response": "said"} for prompt in split_of]
        rows += [rows[0], {"prompt": "blank", "response": " "}]
        data = load(sft="file", sft_path=rows)
        held_out = sum(split in ("test", "autorater") for split in split_of.values())
        assert held_out > 0
        found = dict(data.sft.select("prompt", "split").iter_rows())
        assert found == {p: s for p, s in split_of.items() if s in ("train", "validation")}
        counts = {name: n for name, n in data.counts.items() if name.startswith("sft_dropped_")}
        first_held_out = split_of[str(rows[0]["prompt"])] in ("test", "autorater")
        assert counts["sft_dropped_held_out"] == held_out + first_held_out
        assert counts["sft_dropped_empty"] == 1
        assert data.counts["sft_rows_in"] == data.counts["sft_rows_out"] + sum(counts.values())

    def test_a_near_copy_of_a_held_out_prompt_is_dropped_too(self, load: Load) -> None:
        test = sorted(prompts_in(load(), "test"))[0]
        rows = [{"prompt": words(2000 + row), "response": "x"} for row in range(40)]
        # Of 12 words, so 8 runs of five; one word more makes 9, and 8 / 9 is above 0.8.
        rows += [{"prompt": f"{test} please", "response": "x"}]
        data = load(sft="file", sft_path=rows)
        assert data.counts["sft_dropped_held_out"] == 1
        assert data.sft.height == 40

    def test_posts_with_their_writers_summaries(self, load: Load) -> None:
        rows = [
            {
                "id": f"t{n}",
                "subreddit": "pets",
                "title": "Cat",
                "post": words(n + 300),
                "summary": "s",
            }
            for n in range(40)
        ]
        data = load(sft="file", sft_path=rows)
        assert data.sft["prompt"].str.starts_with("SUBREDDIT: r/pets\nTITLE: Cat\nPOST: ").all()
        assert data.sft["prompt"].str.ends_with("\nTL;DR:").all()

    def test_all_forms_of_the_example_are_read(self, load: Load, tmp_path: Path) -> None:
        example = Path(__file__).resolve().parents[2] / "docs" / "examples" / "sft.jsonl"
        rows = [json.loads(line) for line in example.read_text().splitlines()]
        rows += [{"prompt": words(1000 + row), "label": f"said {row}"} for row in range(40)]
        sft = load(sft="file", sft_path=rows).sft
        assert sft.height == 45
        said = dict(sft.select("response", "prompt").iter_rows())
        assert said["Red."] == "\n\nHuman: Name a colour.\n\nAssistant:"
        assert said["A pear."] == "\n\nHuman: Name a fruit.\n\nAssistant:"

    @pytest.mark.parametrize(
        ("row", "needed"),
        [
            ({"prompt": "a", "complation": "b"}, "did you mean complation?"),
            ({"messages": [{"role": "user", "content": "a"}]}, "ends with role user"),
            ({"messages": []}, "messages is empty"),
            ({"prompt": "a", "completion": None}, "column completion is a null"),
        ],
    )
    def test_a_bad_row_is_named(self, load: Load, row: object, needed: str) -> None:
        with pytest.raises(DataError) as caught:
            load(sft="file", sft_path=[row])
        assert ":1: " in str(caught.value)
        assert needed in str(caught.value)

    def test_one_demonstration_is_refused(self, load: Load) -> None:
        rows = [{"prompt": words(900), "response": "x"}] * 3
        with pytest.raises(DataError, match="demonstrations is in split") as caught:
            load(sft="file", sft_path=rows)
        assert "1 rows of 1 prompts are left (dropped: {'duplicate': 2})" in str(caught.value)
        assert "needs at least 2 different ones" in str(caught.value)

    @pytest.mark.parametrize("draw", range(8))
    @pytest.mark.parametrize("prompts", [2, 3, 5, 60])
    def test_whole_prompts_are_held_out_however_few_there_are(
        self, load: Load, prompts: int, draw: int
    ) -> None:
        rows = [
            {"prompt": words(10_000 + 100 * draw + row), "response": f"said {take}"}
            for row in range(prompts)
            for take in range(20)
        ]
        data = load(sft="file", sft_path=rows)
        splits = data.sft.group_by("prompt").agg(pl.col("split").n_unique())["split"]
        assert data.sft.height == 20 * prompts == data.counts["sft_rows_out"]
        assert splits.to_list() == [1] * prompts
        assert set(data.sft["split"]) == {"train", "validation"}
        assert data.counts["sft_validation_of_one_prompt"] == 0

    def test_of_one_prompt_rows_are_held_out_and_counted(self, load: Load) -> None:
        rows = [{"prompt": words(900), "response": f"said {take}"} for take in range(10)]
        data = load(sft="file", sft_path=rows)
        # The share of validation is 0.2.
        assert data.sft.filter(split="validation").height == 2
        assert data.sft.filter(split="train").height == 8
        assert data.counts["sft_validation_of_one_prompt"] == 2

    def test_of_near_copies_alone_prompts_are_held_out(self, load: Load) -> None:
        near = [words(900), f"{words(900)} please", words(900).upper()]
        rows = [{"prompt": text, "response": take} for text in near for take in "abc"]
        sft = load(sft="file", sft_path=rows).sft
        splits = dict(sft.select("prompt", "split").iter_rows())
        assert splits[near[0]] == splits[near[2]] != splits[near[1]]

    @pytest.mark.parametrize("response", ["chosen", "said"])
    def test_those_of_the_unlabeled_half_are_held_out_by_prompt(
        self, load: Load, response: str
    ) -> None:
        plain = load()
        asked = plain.prompts.filter(split="unlabeled")["prompt"].to_list()
        chosen = {row["prompt"]: row["chosen"] for row in PAIRS}
        rows = [
            {"prompt": text, "response": chosen[text] if response == "chosen" else "said"}
            for text in asked
        ]
        data = load(sft="file", sft_path=rows)
        assert set(data.sft["prompt"]) == set(asked)
        assert data.sft.filter(split="validation").height == max(1, int(0.2 * len(asked)))
        assert data.preferences.equals(plain.preferences)
        assert data.prompts.equals(plain.prompts)

    def test_those_of_validation_pairs_alone_are_refused(self, load: Load) -> None:
        asked = sorted(prompts_in(load(), "validation"))
        rows = [{"prompt": text, "response": "said"} for text in asked]
        with pytest.raises(DataError, match="that do not all belong to validation pairs"):
            load(sft="file", sft_path=rows)

    def test_all_others_train_where_validation_pairs_have_some(self, load: Load) -> None:
        asked = [*sorted(prompts_in(load(), "validation")), words(900)]
        rows = [{"prompt": text, "response": "said"} for text in asked]
        data = load(sft="file", sft_path=rows)
        assert data.sft.filter(split="train")["prompt"].to_list() == [words(900)]

    def test_they_may_share_their_prompts_with_unlabeled_ones(self, load: Load) -> None:
        rows = [
            {"prompt": words(1000 + row), "completion": f"said {row} {take}"}
            for row in range(40)
            for take in range(3)
        ]
        shared = load(sft="file", sft_path=rows, unlabeled="file", unlabeled_path=rows)
        assert shared.prompts.filter(split="unlabeled").height == 40
        # The rows that validate are those that they would be without D_U, whole prompts at a time.
        assert shared.sft.equals(load(sft="file", sft_path=rows).sft)
        splits = shared.sft.group_by("prompt").agg(pl.col("split").n_unique(), pl.len())
        assert splits["split"].to_list() == [1] * 40
        assert splits["len"].to_list() == [3] * 40
        assert set(shared.sft["split"]) == {"train", "validation"}

    def test_prompts_that_all_three_share_leak_into_no_held_out_split(self, load: Load) -> None:
        split_of = dict(load().preferences.select("prompt", "split").iter_rows())
        rows = [{"prompt": prompt, "completion": "said"} for prompt in split_of]
        rows += [{"prompt": words(1000 + row), "completion": "said"} for row in range(40)]
        data = load(sft="file", sft_path=rows, unlabeled="file", unlabeled_path=rows)
        taught = set(data.sft.filter(split="train")["prompt"])
        for split in ("validation", "test", "autorater"):
            assert prompts_in(data, split)
            assert not prompts_in(data, split) & taught


class TestGroups:
    TEMPLATE = words(5000, 60)

    def test_a_large_group_is_warned_of_with_what_its_prompts_share(self, load: Load) -> None:
        copies = [{**row, "prompt": f"{self.TEMPLATE} {n}"} for n, row in enumerate(PAIRS[:4])]
        data = load(path=[*copies, *PAIRS[:30]])
        assert data.counts["largest_group"] == 4
        assert data.counts["groups_of_two_or_more"] == 1
        (warning,) = data.warnings
        assert "one split takes 12% of the prompts at once; the largest group has 4" in warning
        assert f"beginning with '{self.TEMPLATE[:40]}" in warning
        assert "raise prepare.files.near_duplicates or set it to off" in warning
        assert load(path=[*copies, *PAIRS]).warnings == ()

    def test_off_keeps_near_copies_apart(self, load: Load) -> None:
        near = [*PAIRS[:30], *({**row, "prompt": f"{row['prompt']} please"} for row in PAIRS[:30])]
        files = {**DEFAULTS["files"], "near_duplicates": "off"}
        data = load(path=near, files=files)
        assert data.counts["prompt_groups"] == 60
        assert data.counts["largest_group"] == 1
        assert load(path=near).counts["prompt_groups"] == 30

    def test_too_few_groups_are_refused_with_the_largest(self, load: Load) -> None:
        rows = [{**row, "prompt": f"{self.TEMPLATE} {n}"} for n, row in enumerate(PAIRS[:4])]
        with pytest.raises(DataError) as caught:
            load(path=[*rows, *PAIRS[:2]])
        assert "none of 3 prompt groups is in the" in str(caught.value)
        assert "the largest group has 4 prompts (joined: 3 as near duplicates)" in str(caught.value)
        assert "raise prepare.files.near_duplicates or set it to off" in str(caught.value)

    def test_a_large_dialogue_is_warned_of_without_the_setting(self, load: Load) -> None:
        turns = "\n\nHuman: Why?" + "\n\nAssistant: So.\n\nHuman: And?" * 4
        marker = "\n\nAssistant:"
        texts = [marker.join(turns.split(marker)[:end]) + marker for end in range(1, 6)]
        (warning,) = load(
            path=[*({**PAIRS[0], "prompt": text} for text in texts), *PAIRS[:30]]
        ).warnings
        assert "(joined: 4 as turns of one dialogue or with another system message)" in warning
        assert warning.endswith("prepare.files.near_duplicates does not change it")

    @pytest.mark.parametrize("seed", range(20))
    def test_eight_questions_under_one_system_prompt_are_split(
        self, tmp_path: Path, seed: int
    ) -> None:
        rows = [
            {
                "prompt": [
                    {"role": "system", "content": self.TEMPLATE},
                    {"role": "user", "content": words(row, 8)},
                ],
                "chosen": [{"role": "assistant", "content": "good"}],
                "rejected": [{"role": "assistant", "content": "bad"}],
            }
            for row in range(8)
        ]
        params = prepare(path=save(rows, tmp_path / "pairs.jsonl"))
        counts = load_preferences(params, seed).counts
        assert counts["prompt_groups"] == 8
        assert all(counts[f"pairs_{split}"] for split in ("train", "validation", "test"))

    def test_prompts_that_fold_alike_stay_prompts_in_one_split(self, load: Load) -> None:
        rows = [{**row, "prompt": f"{row['prompt']} 52"} for row in PAIRS[:30]]
        rows += [{**row, "prompt": f"{row['prompt']} 5²"} for row in PAIRS[:30]]
        data = load(path=rows)
        assert data.preferences.height == 60
        assert (data.counts["prompts"], data.counts["prompt_groups"]) == (60, 30)
        assert data.counts["spellings_joined"] == 30


class TestUnlabeled:
    ROWS: tuple[dict[str, object], ...] = tuple({"prompt": words(3000 + n)} for n in range(30))

    def test_file_leaves_every_train_pair_labeled(self, load: Load) -> None:
        data = load(unlabeled="file", unlabeled_path=list(self.ROWS))
        assert set(data.prompts.filter(split="unlabeled")["prompt"]) == {
            row["prompt"] for row in self.ROWS
        }
        assert data.hf50().equals(data.preferences.filter(split="train"))

    def test_both_adds_to_the_half_and_leaves_hf50_as_it_is(self, load: Load) -> None:
        data, plain = load(unlabeled="both", unlabeled_path=list(self.ROWS)), load()
        assert data.hf50().equals(plain.hf50())
        half = set(plain.prompts.filter(split="unlabeled")["prompt"])
        given = {row["prompt"] for row in self.ROWS}
        assert set(data.prompts.filter(split="unlabeled")["prompt"]) == half | given

    def test_prompts_of_pairs_copies_and_blank_ones_are_dropped(self, load: Load) -> None:
        plain = load()
        split_of = dict(plain.preferences.select("prompt", "split").iter_rows())
        rows = [*self.ROWS, self.ROWS[0], {"prompt": " "}, *({"prompt": p} for p in split_of)]
        data = load(unlabeled="both", unlabeled_path=rows)
        counts = {n: c for n, c in data.counts.items() if n.startswith("unlabeled_dropped_")}
        assert counts == {
            "unlabeled_dropped_empty": 1,
            "unlabeled_dropped_duplicate": 1,
            "unlabeled_dropped_held_out": 0,
            "unlabeled_dropped_in_preferences": len(split_of),
        }
        assert data.hf50().equals(plain.hf50())

    def test_near_copies_of_the_pairs_prompts_move_no_pair(self, load: Load) -> None:
        rows = [{"prompt": f"{row['prompt']} please"} for row in PAIRS]
        data, plain = load(unlabeled="both", unlabeled_path=rows), load()
        assert data.counts["prompt_groups"] == plain.counts["prompt_groups"]
        assert data.preferences.equals(plain.preferences)
        assert data.hf50().equals(plain.hf50())
        train = prompts_in(plain, "train")
        assert data.counts["unlabeled_rows_out"] == len(train)

    def test_a_near_copy_of_a_test_prompt_is_dropped(self, load: Load) -> None:
        test = sorted(prompts_in(load(), "test"))[0]
        rows = [*self.ROWS, {"prompt": f"{test} please"}]
        data = load(unlabeled="both", unlabeled_path=rows)
        assert data.counts["unlabeled_dropped_held_out"] == 1

    def test_all_forms_of_the_example_are_read(self, load: Load) -> None:
        example = Path(__file__).resolve().parents[2] / "docs" / "examples" / "prompts.jsonl"
        rows = [json.loads(line) for line in example.read_text().splitlines()]
        data = load(unlabeled="file", unlabeled_path=rows)
        found = set(data.prompts.filter(split="unlabeled")["prompt"])
        assert "\n\nSystem: Be brief.\n\nHuman: Name a lake.\n\nAssistant:" in found
        assert len(found) == 5


def as_conversation(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


class TestSpellings:
    """One question as a bare text and as a conversation of one user turn."""

    def test_held_out_questions_stay_held_out_in_the_other_spelling(self, load: Load) -> None:
        plain = load()
        held_out = prompts_in(plain, "test") | prompts_in(plain, "autorater")
        questions = [row["prompt"] for row in PAIRS]
        fresh = [words(4000 + n) for n in range(40)]
        conversations = [as_conversation(text) for text in questions + fresh]
        data = load(
            sft="file",
            sft_path=[{"prompt": asked, "completion": "said"} for asked in conversations],
            unlabeled="both",
            unlabeled_path=[{"prompt": asked} for asked in conversations],
        )
        assert len(held_out) > 10
        assert data.counts["sft_dropped_held_out"] == len(held_out)
        assert data.counts["unlabeled_dropped_in_preferences"] == len(questions)
        assert data.counts["unlabeled_rows_out"] == len(fresh)
        assert data.preferences.equals(plain.preferences)
        assert data.hf50().equals(plain.hf50())

    def test_bare_questions_of_pairs_that_are_dialogues_are_known(self, load: Load) -> None:
        rated = [
            {
                "instruction": row["prompt"],
                "completions": [
                    {"response": row["chosen"], "overall_score": 2},
                    {"response": row["rejected"], "overall_score": 1},
                ],
            }
            for row in PAIRS
        ]
        bare = [{"prompt": row["prompt"]} for row in PAIRS]
        some = [{"prompt": words(4000 + n)} for n in range(9)]
        changes = {"path": rated, "unlabeled": "both", "unlabeled_path": bare + some}
        data = load(source="ultrafeedback", **changes)
        assert data.counts["unlabeled_dropped_in_preferences"] == len(bare)
        assert data.counts["unlabeled_rows_out"] == len(some)

    def test_files_of_texts_and_of_conversations_split_alike(
        self, load: Load, tmp_path: Path
    ) -> None:
        folder = tmp_path / "both"
        folder.mkdir()
        save(PAIRS, folder / "texts.jsonl")
        sides = ("chosen", "rejected")
        rows = [
            {"prompt": as_conversation(row["prompt"])}
            | {side: [{"role": "assistant", "content": f"{row[side]}!"}] for side in sides}
            for row in PAIRS
        ]
        save(rows, folder / "conversations.jsonl")
        found = load(path=str(folder)).preferences
        assert found.height == 2 * len(PAIRS)
        assert found["prompt"].n_unique() == 2 * len(PAIRS)
        splits = found.group_by("prompt_id").agg(pl.col("split").n_unique(), rows=pl.len())
        assert splits.height == len(PAIRS)
        assert (splits["split"].max(), splits["rows"].min()) == (1, 2)

    def test_a_later_turn_is_of_the_family_of_its_bare_first_message(self, load: Load) -> None:
        turns = "\n\nHuman: {}\n\nAssistant: Yes.\n\nHuman: Why?\n\nAssistant:"
        test = sorted(prompts_in(load(), "test"))
        rows = [{"prompt": turns.format(text)} for text in test] + list(TestUnlabeled.ROWS)
        data = load(unlabeled="both", unlabeled_path=rows)
        assert data.counts["unlabeled_dropped_held_out"] == len(test) > 0


class TestHub:
    HUB: dict[str, str] = {  # noqa: RUF012
        "name": "nobody/pairs",
        "revision": "0123abc",
        "config": "none",
        "folder": "none",
        "split": "all",
    }

    def test_a_name_without_a_network_fails_at_once(
        self, load: Load, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        started = time.monotonic()
        with pytest.raises(DataError) as caught:
            load(hub=self.HUB)
        assert time.monotonic() - started < 5
        text = str(caught.value)
        assert "'nobody/pairs' cannot be read" in text
        assert "HF_HUB_OFFLINE" in text
        assert "hf download nobody/pairs --repo-type dataset --revision 0123abc" in text
        assert "prepare.path" in text

    def test_rows_of_its_splits_are_streamed(
        self, load: Load, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        datasets = pytest.importorskip("datasets")
        asked: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

        def answer(*arguments: Any, **options: Any) -> Any:
            asked.append((arguments, options))
            halves = {"train": PAIRS[:50], "test": PAIRS[50:]}
            return datasets.IterableDatasetDict(
                {
                    name: datasets.Dataset.from_list(rows).to_iterable_dataset()
                    for name, rows in halves.items()
                }
            )

        monkeypatch.setattr("westofn.hub.hub_answers", lambda: True)
        monkeypatch.setattr(datasets, "load_dataset", answer)
        data, plain = load(hub=self.HUB), load()
        assert data.preferences.equals(plain.preferences)
        ((arguments, options),) = asked
        assert arguments == ("nobody/pairs", None)
        assert options == {"revision": "0123abc", "data_dir": None, "streaming": True}
        some = load(hub={**self.HUB, "split": "train", "folder": "sums"})
        assert some.counts["rows_in"] == 50
        assert some.preferences["source"].unique().to_list() == ["files/sums"]
        with pytest.raises(DataError, match="has no split 'dev', it has train, test"):
            load(hub={**self.HUB, "split": "dev"})

    def test_what_the_library_refuses_is_one_line(
        self, load: Load, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        datasets = pytest.importorskip("datasets")

        def refuse(*_: Any, **__: Any) -> Any:
            raise ValueError("BuilderConfig 'x' not found.\nAvailable: ['default']")

        monkeypatch.setattr("westofn.hub.hub_answers", lambda: True)
        monkeypatch.setattr(datasets, "load_dataset", refuse)
        with pytest.raises(DataError) as caught:
            load(hub={**self.HUB, "config": "x"})
        assert "not found. Available: ['default']; mend prepare.hub" in str(caught.value)

    def test_the_module_never_runs_code_of_a_data_set(self) -> None:
        assert "trust_remote_code" not in Path(hub_module.__file__).read_text("utf-8")
