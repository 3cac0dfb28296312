from __future__ import annotations

import gzip
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest

from westofn.errors import DataError
from westofn.params.prepare import FilesParams
from westofn.params.whole import load_params
from westofn.sources.data import SourceData
from westofn.sources.registry import load_preferences

HH_8K = Path(__file__).parents[3] / "shared" / "data" / "hh-rlhf-8k" / "train.jsonl.gz"

Row = Mapping[str, object]


def params(**changes: object) -> FilesParams:
    values = {
        "validation_fraction": 0.1,
        "near_duplicates": 0.8,
        "test_fraction": 0.2,
        "autorater_fraction": 0.1,
        "limit": 0,
        "subset": "all",
        "max_test_prompts": 1000,
    }
    return FilesParams.model_validate({**values, **changes})


def words(seed: int, count: int) -> str:
    return " ".join(random.Random(seed).choices([f"word{index}" for index in range(500)], k=count))


def plain(count: int) -> list[dict[str, object]]:
    """Return rows with prompts that share nothing."""
    return [
        {
            "prompt": f"\n\nHuman: {words(row, 12)}\n\nAssistant:",
            "chosen": f"good {row}",
            "rejected": f"bad {row}",
        }
        for row in range(count)
    ]


def save(rows: Sequence[object], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def load_hh(path: Path, files: FilesParams, seed: int, source: str = "hh") -> SourceData:
    changes = {"source": source, "path": str(path), "files": files}
    return load_preferences(load_params().prepare.model_copy(update=changes), seed)


def load(rows: Sequence[object], tmp_path: Path, **changes: object) -> SourceData:
    return load_hh(save(rows, tmp_path / "pairs.jsonl"), params(**changes), 0)


def refusal(path: Path, **changes: object) -> str:
    with pytest.raises(DataError) as caught:
        load_hh(path, params(**changes), 0)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text


def assert_equal(left: SourceData, right: SourceData) -> None:
    assert left.counts == right.counts
    for name in ("sft", "preferences", "prompts", "world"):
        assert getattr(left, name).equals(getattr(right, name)), name


class TestFrames:
    def test_every_row_comes_out_once(self, tmp_path: Path) -> None:
        rows = plain(100)
        data = load(rows, tmp_path)
        columns = ["prompt", "chosen", "rejected"]
        assert sorted(data.preferences.select(columns).rows()) == sorted(
            tuple(row[column] for column in columns) for row in rows
        )
        assert data.preferences["label_source"].unique().to_list() == ["human"]
        assert data.preferences["source"].unique().to_list() == ["hh"]
        assert data.preferences["p_chosen"].null_count() == 100
        assert data.world.height == 0

    def test_half_of_the_train_prompts_are_unlabeled_and_their_pairs_are_not_in_hf50(
        self, tmp_path: Path
    ) -> None:
        data = load(plain(100), tmp_path)
        train = set(data.preferences.filter(split="train")["prompt_id"])
        unlabeled = set(data.prompts.filter(split="unlabeled")["prompt_id"])
        assert unlabeled < train
        assert len(unlabeled) == len(train) // 2
        assert set(data.hf50()["prompt_id"]) == train - unlabeled

    def test_test_prompts_are_those_of_the_test_pairs(self, tmp_path: Path) -> None:
        data = load(plain(100), tmp_path)
        test = data.preferences.filter(split="test")
        assert set(data.prompts.filter(split="test")["prompt_id"]) == set(test["prompt_id"])

    def test_test_prompts_are_capped_whatever_their_order(self, tmp_path: Path) -> None:
        rows = plain(100)
        some = load(rows, tmp_path, max_test_prompts=5).prompts.filter(split="test")
        again = load(rows[::-1], tmp_path, max_test_prompts=5).prompts.filter(split="test")
        every = load(rows, tmp_path).prompts.filter(split="test")
        assert some.height == 5 < every.height
        assert some.equals(again)
        assert set(some["prompt_id"]) < set(every["prompt_id"])

    def test_demonstrations_are_the_chosen_responses_of_train_and_validation(
        self, tmp_path: Path
    ) -> None:
        data = load(plain(100), tmp_path)
        for split in ("train", "validation"):
            pairs = data.preferences.filter(split=split)
            sft = data.sft.filter(split=split)
            assert sorted(sft["response"]) == sorted(pairs["chosen"])
        assert set(data.sft["split"]) == {"train", "validation"}

    def test_a_chosen_response_in_two_pairs_is_one_demonstration(self, tmp_path: Path) -> None:
        rows = plain(60)
        more = [{**row, "rejected": "worse"} for row in rows]
        assert load(rows + more, tmp_path).sft.equals(load(rows, tmp_path).sft)


class TestOrderAndCopies:
    def test_the_order_of_the_rows_changes_nothing(self, tmp_path: Path) -> None:
        rows = plain(100)
        # Spellings, near duplicates, copies and contradictions make the order tempting.
        rows += [{**row, "prompt": str(row["prompt"]).upper()} for row in rows[:20]]
        rows += [{**row, "chosen": row["rejected"], "rejected": row["chosen"]} for row in rows[:9]]
        rows += [{**row, "subset": "b"} for row in rows[:20]]
        data = load(rows, tmp_path)
        for seed in range(3):
            random.Random(seed).shuffle(rows)
            assert_equal(load(rows, tmp_path), data)

    def test_dividing_the_rows_among_files_changes_nothing(self, tmp_path: Path) -> None:
        rows = plain(90)
        save(rows[:30], tmp_path / "many" / "test.jsonl.gz")
        save(rows[30:60], tmp_path / "many" / "train.jsonl")
        pl.DataFrame(rows[60:]).write_parquet(tmp_path / "many" / "more.parquet")
        assert_equal(load_hh(tmp_path / "many", params(), 0), load(rows, tmp_path))

    def test_other_rows_do_not_move_a_prompt_to_another_split(self, tmp_path: Path) -> None:
        rows = plain(200)
        split_of = dict(load(rows, tmp_path).preferences.select("pair_id", "split").iter_rows())
        fewer = dict(load(rows[:80], tmp_path).preferences.select("pair_id", "split").iter_rows())
        assert fewer.items() <= split_of.items()

    def test_another_seed_gives_other_splits(self, tmp_path: Path) -> None:
        path = save(plain(100), tmp_path / "pairs.jsonl")
        first, second = (load_hh(path, params(), seed).preferences for seed in (0, 1))
        assert first.drop("split").equals(second.drop("split"))
        assert not first["split"].equals(second["split"])

    def test_spellings_of_a_prompt_share_a_split(self, tmp_path: Path) -> None:
        rows = plain(60)
        loud = [
            {
                **row,
                "prompt": f"\n\nHuman: {words(number, 12).upper()}\n\nAssistant:",
                "chosen": "another",
            }
            for number, row in enumerate(rows)
        ]
        data = load(rows + loud, tmp_path)
        assert (data.counts["prompts"], data.counts["prompt_groups"]) == (120, 60)
        assert data.preferences.height == 120
        splits = data.preferences.group_by(pl.col("prompt").str.to_uppercase())
        assert splits.agg(pl.col("split").n_unique())["split"].to_list() == [1] * 60

    def test_planted_near_duplicates_share_a_split(self, tmp_path: Path) -> None:
        rows = plain(60)
        pairs_of = {}
        for row in range(40):
            long = words(1000 + row, 60)
            for variant, prompt in enumerate((long, f"{long} please")):
                chosen = f"answer {row} {variant}"
                pairs_of[chosen] = row
                rows.append({"prompt": prompt, "chosen": chosen, "rejected": "no"})
        data = load(rows, tmp_path)
        assert data.counts["near_duplicates_joined"] == 40
        assert data.counts["prompts"] == 140
        assert data.counts["prompt_groups"] == 100
        planted = data.preferences.filter(pl.col("chosen").is_in(list(pairs_of)))
        splits = planted.with_columns(row=pl.col("chosen").replace_strict(pairs_of))
        assert splits.group_by("row").agg(pl.col("split").n_unique())["split"].to_list() == [1] * 40

    def test_turns_of_one_dialogue_share_a_split(self, tmp_path: Path) -> None:
        rows = plain(60)
        later = [
            {
                **row,
                "prompt": f"{row['prompt']} {words(500 + turn, 40)}\n\nHuman: more?\n\nAssistant:",
                "chosen": f"later {turn}",
            }
            for turn, row in enumerate(rows)
        ]
        data = load(rows + later, tmp_path)
        assert data.counts["openings_joined"] == 60
        assert data.counts["near_duplicates_joined"] == 0
        opening = pl.col("prompt").str.split("\n\nAssistant:").list.first()
        splits = data.preferences.group_by(opening).agg(pl.col("split").n_unique())["split"]
        assert splits.to_list() == [1] * 60


class TestDialogues:
    def test_whole_dialogues_are_cut_after_the_last_shared_turn(self, tmp_path: Path) -> None:
        rows = plain(60)
        whole = [
            {side: f"{row['prompt']}  {row[side]}\n" for side in ("chosen", "rejected")}
            for row in rows
        ]
        assert_equal(load(whole, tmp_path), load(rows, tmp_path))

    def test_a_prefix_that_the_responses_share_stays_in_them(self, tmp_path: Path) -> None:
        prompt = "\n\nHuman: a?\n\nAssistant: b.\n\nHuman: c?\n\nAssistant:"
        row = {"chosen": f"{prompt} Yes, it is.", "rejected": f"{prompt} Yes, it may be."}
        preferences = load([*plain(60), row], tmp_path).preferences.filter(chosen="Yes, it is.")
        assert preferences.select("prompt", "rejected").rows() == [(prompt, "Yes, it may be.")]

    @pytest.mark.parametrize(
        ("chosen", "rejected"),
        [
            ("\n\nHuman: a\n\nAssistant: x", "\n\nHuman: b\n\nAssistant: x"),
            (
                "\n\nHuman: a\n\nAssistant: x\n\nHuman: b\n\nAssistant: z",
                "\n\nHuman: a\n\nAssistant: y\n\nHuman: b\n\nAssistant: z",
            ),
            ("\n\nHuman: a\n\nAssistant: x", "\n\nHuman: a\n\nAssistant: y\n\nHuman: b"),
            ("\n\nHuman: a\n\nAssistant: x", "no dialogue"),
        ],
    )
    def test_sides_that_differ_before_the_last_turn_are_dropped_and_counted(
        self, tmp_path: Path, chosen: str, rejected: str
    ) -> None:
        data = load([*plain(60), {"chosen": chosen, "rejected": rejected}], tmp_path)
        assert data.counts["dropped_sides_differ_before_last_turn"] == 1
        assert data.counts["rows_out"] == 60


class TestAccount:
    def test_dropped_rows_are_counted_by_reason_and_the_counts_add_up(self, tmp_path: Path) -> None:
        rows = plain(60)
        bad = [
            {**rows[0], "chosen": "same", "rejected": " same "},
            {**rows[1], "chosen": ""},
            {**rows[2], "rejected": " \n"},
            {**rows[3], "prompt": " "},
            rows[4],
            {**rows[4], "prompt": f"{rows[4]['prompt']} "},
            rows[5],
        ]
        counts = load(rows + bad, tmp_path).counts
        reasons = {name: count for name, count in counts.items() if name.startswith("dropped_")}
        assert reasons == {
            "dropped_other_subset": 0,
            "dropped_sides_differ_before_last_turn": 0,
            "dropped_empty_prompt": 1,
            "dropped_empty_response": 2,
            "dropped_empty_turn": 0,
            "dropped_identical_responses": 1,
            "dropped_tie": 0,
            "dropped_duplicate_pair": 3,
        }
        assert counts["rows_in"] == 67
        assert counts["rows_out"] == 60 == 67 - sum(reasons.values())

    def test_pairs_of_the_splits_add_up_to_the_rows_out(self, tmp_path: Path) -> None:
        data = load(plain(100), tmp_path)
        splits = ("train", "validation", "test", "autorater")
        assert sum(data.counts[f"pairs_{split}"] for split in splits) == 100
        assert all(data.counts[f"pairs_{split}"] > 0 for split in splits)
        assert data.counts["pairs_hf50"] == data.hf50().height
        assert data.counts["prompts_unlabeled"] == data.prompts.filter(split="unlabeled").height
        assert data.counts["sft_validation"] == data.counts["pairs_validation"]

    def test_limit_takes_the_first_rows_of_each_file(self, tmp_path: Path) -> None:
        rows = plain(120)
        save(rows[:60], tmp_path / "many" / "a.jsonl")
        pl.DataFrame(rows[60:]).write_parquet(tmp_path / "many" / "b.parquet")
        data = load_hh(tmp_path / "many", params(limit=50), 0)
        assert data.counts["rows_in"] == 100
        kept = {*range(50), *range(60, 110)}
        assert set(data.preferences["chosen"]) == {f"good {row}" for row in kept}

    @pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
    def test_limit_counts_rows_of_the_requested_subset(self, ending: str, tmp_path: Path) -> None:
        rows = [row | {"subset": "b" if i >= 40 else "a"} for i, row in enumerate(plain(120))]
        path = tmp_path / f"rows{ending}"
        if ending == ".jsonl":
            save(rows, path)
        else:
            pl.DataFrame(rows).write_parquet(path)
        data = load_hh(path, params(limit=50, subset="b"), 0)
        assert set(data.preferences["chosen"]) == {f"good {row}" for row in range(40, 90)}
        assert data.counts["rows_in"] == 90
        assert data.counts["dropped_other_subset"] == 40


class TestSubsetsAndIds:
    def test_a_subset_is_selected_by_its_column(self, tmp_path: Path) -> None:
        rows = [{**row, "subset": "a" if n % 2 else "b"} for n, row in enumerate(plain(120))]
        data = load(rows, tmp_path, subset="a")
        assert data.counts["dropped_other_subset"] == 60
        assert data.preferences["source"].unique().to_list() == ["hh/a"]
        assert data.preferences.height == 60

    def test_several_subsets_are_named_with_commas(self, tmp_path: Path) -> None:
        rows = [{**row, "subset": "abc"[n % 3]} for n, row in enumerate(plain(120))]
        data = load(rows, tmp_path, subset="a,c")
        assert data.counts["dropped_other_subset"] == 40

    def test_a_folder_names_the_subset_of_files_without_such_a_column(self, tmp_path: Path) -> None:
        rows = plain(60)
        save(rows[:30], tmp_path / "hh" / "helpful-base" / "train.jsonl.gz")
        save(rows[30:], tmp_path / "hh" / "harmless-base" / "train.jsonl.gz")
        save([{"not": "read"}], tmp_path / "hh" / ".cache" / "x.jsonl")
        sources = load_hh(tmp_path / "hh", params(), 0).preferences["source"].value_counts()
        assert dict(sources.iter_rows()) == {"hh/helpful-base": 30, "hh/harmless-base": 30}

    def test_an_unknown_subset_is_refused_with_those_there_are(self, tmp_path: Path) -> None:
        rows = [{**row, "subset": "helpful-base"} for row in plain(60)]
        text = refusal(save(rows, tmp_path / "x.jsonl"), subset="helpfull-base")
        assert "no row has subset 'helpfull-base' (did you mean helpful-base?)" in text
        assert "the data has helpful-base: mend prepare.files.subset" in text

    def test_ids_of_the_file_name_the_pairs(self, tmp_path: Path) -> None:
        rows = [{**row, "id": n} for n, row in enumerate(plain(60))]
        data = load(rows, tmp_path)
        named = data.preferences.with_columns(number=pl.col("chosen").str.strip_prefix("good "))
        assert named["pair_id"].equals(named["number"].alias("pair_id"))

    def test_ids_that_repeat_name_no_pairs(self, tmp_path: Path) -> None:
        rows = [{**row, "id": n % 30} for n, row in enumerate(plain(60))]
        ids = load(rows, tmp_path).preferences["pair_id"]
        assert ids.str.starts_with("h").all()
        assert ids.n_unique() == 60


class TestBadFiles:
    def test_missing(self, tmp_path: Path) -> None:
        assert "no such file or folder; mend prepare.path" in refusal(tmp_path / "x.jsonl")

    def test_a_folder_without_such_files(self, tmp_path: Path) -> None:
        (tmp_path / "x.txt").touch()
        assert "no file that ends with .jsonl, .ndjson, .json, .csv, .tsv (also" in refusal(
            tmp_path
        )

    def test_another_kind_of_file(self, tmp_path: Path) -> None:
        (tmp_path / "x.txt").touch()
        assert "needs a name that ends with .jsonl" in refusal(tmp_path / "x.txt")

    @pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
    @pytest.mark.parametrize("rows", [0, 3])
    def test_no_rows(self, tmp_path: Path, name: str, rows: int) -> None:
        path = tmp_path / name
        content = b"\n" * rows
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        assert "the file has no rows; needs at least 1" in refusal(path)

    def test_zero_byte_files(self, tmp_path: Path) -> None:
        for name in ("x.jsonl", "x.jsonl.gz"):
            (tmp_path / name).touch()
            assert "the file has no rows" in refusal(tmp_path / name)
        (tmp_path / "x.parquet").touch()
        assert "empty, truncated or not Parquet" in refusal(tmp_path / "x.parquet")

    def test_truncated_gzip(self, tmp_path: Path) -> None:
        path = save(plain(60), tmp_path / "x.jsonl.gz")
        path.write_bytes(path.read_bytes()[:-200])
        text = refusal(path)
        assert "the gzip stream is truncated or corrupt" in text
        assert text.endswith("copy the file again")

    def test_a_file_that_is_not_gzip(self, tmp_path: Path) -> None:
        path = tmp_path / "x.jsonl.gz"
        path.write_text("{}\n")
        assert "stream is truncated or corrupt (Not a gzipped file" in refusal(path)

    def test_truncated_parquet(self, tmp_path: Path) -> None:
        path = tmp_path / "x.parquet"
        pl.DataFrame(plain(60)).write_parquet(path)
        path.write_bytes(path.read_bytes()[:300])
        text = refusal(path)
        assert "empty, truncated or not Parquet" in text
        assert text.endswith("copy the file again")

    def test_invalid_json_names_the_line(self, tmp_path: Path) -> None:
        path = save(plain(60), tmp_path / "x.jsonl")
        lines = path.read_text().splitlines()
        lines[16] = lines[16][:50]
        path.write_text("\n".join(lines))
        text = refusal(path)
        assert text.startswith(f"{path}:17: not JSON (Unterminated string starting at, column 12)")
        assert "needs one object a line" in text

    def test_bytes_that_are_not_utf8_name_the_line(self, tmp_path: Path) -> None:
        path = tmp_path / "x.jsonl"
        path.write_bytes(b'{"prompt": "a", "chosen": "caf\xe9", "rejected": "b"}\n')
        assert f"{path}:1: byte 30 is not UTF-8" in refusal(path)

    def test_a_byte_order_mark_does_no_harm(self, tmp_path: Path) -> None:
        path = save(plain(60), tmp_path / "x.jsonl")
        plainly = load_hh(path, params(), 0)
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert_equal(load_hh(path, params(), 0), plainly)

    @pytest.mark.parametrize(
        ("row", "found"),
        [
            ([1], "the line is a list, needs an object"),
            (
                {"prompt": "a", "chosen": "b"},
                "column rejected is missing; the row has 'prompt, chosen'",
            ),
            (
                {"prompt": "a", "chosen": "b", "rejeted": "c"},
                "column rejected is missing (did you mean rejeted?)",
            ),
            (
                {"promt": "a", "chosen": "b", "rejected": "c"},
                "column prompt is missing (did you mean promt?)",
            ),
            (
                {"prompt": "a", "chosen": [{"role": "user"}], "rejected": "c"},
                "column chosen has an entry of 'role', needs messages with role and content",
            ),
            ({"prompt": 3, "chosen": "b", "rejected": "c"}, "column prompt is a int (3), needs"),
            ({"prompt": None, "chosen": "b", "rejected": "c"}, "column prompt is a null"),
            (
                {"prompt": "a", "chosen": "\ud800", "rejected": "c"},
                "column chosen holds half a surrogate pair",
            ),
            (
                {"prompt": "a", "chosen": "b", "rejected": "c", "id": "\ud800"},
                "column id holds half a surrogate pair",
            ),
        ],
    )
    def test_a_bad_row_is_named_with_what_it_lacks(
        self, tmp_path: Path, row: object, found: str
    ) -> None:
        path = save([*plain(2), row], tmp_path / "x.jsonl")
        text = refusal(path)
        assert text.startswith(f"{path}:3: ")
        assert found in text

    def test_a_bad_row_of_parquet_is_named_by_its_number(self, tmp_path: Path) -> None:
        path = tmp_path / "x.parquet"
        pl.DataFrame([*plain(2), {**plain(1)[0], "rejected": None}]).write_parquet(path)
        assert f"{path}: row 3: column rejected is a null (None), needs text" in refusal(path)

    def test_rows_without_a_usable_pair_are_refused_with_the_reasons(self, tmp_path: Path) -> None:
        rows = [{**row, "chosen": "x", "rejected": "x"} for row in plain(5)]
        text = refusal(save(rows, tmp_path / "x.jsonl"))
        assert "no usable pair in 5 rows (dropped_identical_responses 5)" in text

    def test_too_few_prompts_to_fill_the_splits_are_refused(self, tmp_path: Path) -> None:
        assert "prompt groups is in the" in refusal(save(plain(2), tmp_path / "x.jsonl"))


class TestSourceData:
    def changed(self, tmp_path: Path, **frames: pl.DataFrame) -> str:
        data = load(plain(60), tmp_path)
        parts = {name: getattr(data, name) for name in ("sft", "preferences", "prompts", "world")}
        with pytest.raises(DataError) as caught:
            SourceData.validated(**{**parts, **frames}, counts=data.counts, where="source")
        return str(caught.value)

    def test_a_prompt_that_is_both_demonstrated_and_tested_is_refused(self, tmp_path: Path) -> None:
        data = load(plain(60), tmp_path)
        test = data.preferences.filter(split="test")["prompt_id"][0]
        train = data.sft.filter(split="train")["prompt_id"][0]
        sft = data.sft.with_columns(prompt_id=pl.col("prompt_id").replace(train, test))
        text = self.changed(tmp_path, sft=sft)
        assert text.startswith(f"source: prompt {test} (")
        assert "is in two splits: train of sft and test of preferences" in text

    def test_a_frame_that_breaks_its_table_is_refused(self, tmp_path: Path) -> None:
        prompts = load(plain(60), tmp_path).prompts.drop("split")
        assert "table prompts: (1) column split is missing" in self.changed(
            tmp_path, prompts=prompts
        )

    def test_an_empty_hf50_is_refused(self, tmp_path: Path) -> None:
        data = load(plain(60), tmp_path)
        train = data.preferences.filter(split="train").select(
            "prompt_id", "prompt", split=pl.lit("unlabeled")
        )
        prompts = pl.concat([train, data.prompts.filter(split="test")])
        assert "so HF50 is empty" in self.changed(tmp_path, prompts=prompts)

    @pytest.mark.parametrize("split", ["test", "unlabeled"])
    def test_prompts_without_one_split_are_refused(self, tmp_path: Path, split: str) -> None:
        prompts = load(plain(60), tmp_path).prompts.filter(pl.col("split") != split)
        assert f"no prompt has split {split}" in self.changed(tmp_path, prompts=prompts)

    def test_a_world_that_lacks_a_prompt_is_refused(self, tmp_path: Path) -> None:
        ids = load(plain(60), tmp_path).prompts["prompt_id"]
        world = pl.DataFrame({"prompt_id": ids[1:], "facts": ["{}"] * (len(ids) - 1)})
        text = self.changed(tmp_path, world=world)
        assert f"world has no facts for 1 of {len(ids)} prompts, first '{ids[0]}'" in text


@pytest.mark.skipif(not HH_8K.exists(), reason=f"{HH_8K} is not on this machine")
def test_the_first_rows_of_hh_become_pairs_without_a_leak() -> None:
    data = load_hh(HH_8K, params(limit=300), 0)
    assert data.counts["rows_in"] == 300
    dropped = sum(count for name, count in data.counts.items() if name.startswith("dropped_"))
    assert data.preferences.height == 300 - dropped
    assert data.preferences["source"].str.starts_with("hh/").all()
    assert data.preferences["prompt"].str.ends_with("\n\nAssistant:").all()
    opening = pl.col("prompt").str.split("\n\nAssistant:").list.first()
    splits = data.preferences.group_by(opening).agg(pl.col("split").n_unique())["split"]
    assert splits.max() == 1


def test_files_reads_dialogues_as_hh_does(tmp_path: Path) -> None:
    rows = [
        {side: f"{row['prompt']}  {row[side]}\n" for side in ("chosen", "rejected")}
        for row in plain(60)
    ]
    assert_alike(save(rows, tmp_path / "x.jsonl"), params())


@pytest.mark.skipif(not HH_8K.exists(), reason=f"{HH_8K} is not on this machine")
def test_files_reads_hh_as_hh_does() -> None:
    assert_alike(HH_8K, params(limit=200))


def assert_alike(path: Path, files: FilesParams) -> None:
    """Apart from what the column `source` begins with."""
    by_name, by_form = load_hh(path, files, 0), load_hh(path, files, 0, "files")
    renamed = pl.col("source").str.replace("^files", "hh")
    assert by_form.preferences.with_columns(renamed).equals(by_name.preferences)
    assert by_form.sft.equals(by_name.sft)
    assert by_form.prompts.equals(by_name.prompts)
    extra = by_form.counts.keys() - by_name.counts.keys()
    assert not extra
    assert by_name.counts.items() <= by_form.counts.items()
