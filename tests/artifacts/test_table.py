from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from tests.damages import DAMAGES
from westofn.artifacts import table
from westofn.artifacts.candidates import CANDIDATES
from westofn.artifacts.pairs import PAIRS
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.artifacts.table import Check, Column, Table
from westofn.artifacts.world import WORLD
from westofn.errors import DataError


def preferences(rows: int = 3) -> pl.DataFrame:
    return PREFERENCES.frame(
        {
            "pair_id": [f"h{row}" for row in range(rows)],
            "prompt_id": [f"p{row}" for row in range(rows)],
            "prompt": [f"prompt {row}" for row in range(rows)],
            "chosen": [f"good {row}" for row in range(rows)],
            "rejected": [f"bad {row}" for row in range(rows)],
            "split": ["train"] * rows,
            "source": ["hh"] * rows,
            "label_source": ["human"] * rows,
            "p_chosen": [None] * rows,
        }
    )


def message(path: Path) -> str:
    """Return the one line with which a read is refused."""
    with pytest.raises(DataError) as caught:
        PREFERENCES.read(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(str(path))
    return text


def saved(frame: pl.DataFrame, path: Path) -> Path:
    """Write Parquet that the table did not validate."""
    frame.write_parquet(path)
    return path


def test_a_frame_comes_back_sorted_by_key_with_the_columns_of_the_table(tmp_path: Path) -> None:
    frame = preferences()
    path = tmp_path / "new" / "folder" / "preferences.parquet"
    PREFERENCES.write(frame.reverse().select(reversed(frame.columns)), path)
    assert PREFERENCES.read(path).equals(frame)
    assert PREFERENCES.read(path).schema == frame.schema


def test_a_file_of_another_writer_in_another_order_is_read_sorted(tmp_path: Path) -> None:
    path = saved(preferences().reverse(), tmp_path / "preferences.parquet")
    assert PREFERENCES.read(path)["pair_id"].to_list() == ["h0", "h1", "h2"]


def test_brackets_and_stars_in_a_path_are_letters(tmp_path: Path) -> None:
    path = tmp_path / "a=1" / "[x]*" / "preferences.parquet"
    PREFERENCES.write(preferences(), path)
    assert PREFERENCES.read(path).equals(preferences())


class TestUnreadableFiles:
    def test_missing(self, tmp_path: Path) -> None:
        text = message(tmp_path / "preferences.parquet")
        assert "no such file; rerun prepare or filter" in text

    def test_folder(self, tmp_path: Path) -> None:
        assert "is a folder, needs a Parquet file; rerun prepare or filter" in message(tmp_path)

    def test_zero_bytes(self, tmp_path: Path) -> None:
        path = tmp_path / "preferences.parquet"
        path.touch()
        assert "the file has 0 bytes; rerun prepare or filter" in message(path)

    def test_another_format(self, tmp_path: Path) -> None:
        path = tmp_path / "preferences.parquet"
        path.write_text('{"prompt": "x"}\n')
        text = message(path)
        assert "not a Parquet file: starts with b'{\"pr', needs b'PAR1'" in text
        assert "convert the file to Parquet" in text

    def test_truncated(self, tmp_path: Path) -> None:
        path = saved(preferences(), tmp_path / "preferences.parquet")
        path.write_bytes(path.read_bytes()[:200])
        text = message(path)
        assert "truncated after 200 bytes" in text
        assert "rerun prepare or filter, or copy the file again" in text

    @pytest.mark.parametrize("keep", [0, 1, 4, 100])
    def test_cut_out_of_the_middle(self, tmp_path: Path, keep: int) -> None:
        path = saved(preferences(), tmp_path / "preferences.parquet")
        content = path.read_bytes()
        path.write_bytes(b"PAR1" + content[4 : 4 + keep] + content[-8:])
        text = message(path)
        assert "corrupt Parquet" in text
        assert "rerun prepare or filter, or copy the file again" in text


class TestChecksum:
    def test_every_flipped_byte_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "preferences.parquet"
        PREFERENCES.write(preferences(200), path)
        content = path.read_bytes()
        for place in range(len(content)):
            if place % 3 and place < len(content) - 300:
                continue
            changed = bytearray(content)
            changed[place] ^= 1 << place % 8
            path.write_bytes(changed)
            assert "rerun prepare or filter" in message(path)

    @pytest.mark.parametrize("damage", ["emptied", "cut in half", "without its last byte"])
    def test_a_file_that_was_cut_is_one_line(self, damage: str, tmp_path: Path) -> None:
        path = tmp_path / "preferences.parquet"
        PREFERENCES.write(preferences(200), path)
        DAMAGES[damage](path)
        assert "0 bytes" in (text := message(path)) or "truncated after" in text

    def test_the_line_names_the_key_and_what_to_do(self, tmp_path: Path) -> None:
        path = tmp_path / "preferences.parquet"
        PREFERENCES.write(preferences(), path)
        DAMAGES["a flipped bit"](path)
        text = message(path)
        assert "does not have the SHA-256 that it names (westofn.sha256 in its metadata)" in text
        assert "rerun prepare or filter, or copy the file again" in text

    def test_a_changed_cell_under_the_old_checksum_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "preferences.parquet"
        PREFERENCES.write(preferences(), path)
        metadata = {"westofn.sha256": pl.read_parquet_metadata(path)["westofn.sha256"]}
        assert len(metadata["westofn.sha256"]) == 64
        frame = preferences().with_columns(chosen=pl.lit("other"))
        frame.write_parquet(path, metadata=metadata)
        assert "the file was damaged or changed" in message(path)
        frame.write_parquet(path)  # mended by another program, which names no checksum
        assert PREFERENCES.read(path)["chosen"].to_list() == ["other"] * 3

    def test_equal_rows_give_equal_bytes(self, tmp_path: Path) -> None:
        for name, frame in (("a", preferences(50)), ("b", preferences(50).reverse())):
            PREFERENCES.write(frame, tmp_path / name)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_the_text_of_the_key_among_the_rows_is_text(self, tmp_path: Path) -> None:
        path = tmp_path / "preferences.parquet"
        odd = "westofn.sha256\x18@" + "0" * 64
        frame = preferences().with_columns(
            prompt=pl.lit(odd), prompt_id=pl.lit(odd), source=pl.lit(odd)
        )
        PREFERENCES.write(frame, path)
        assert PREFERENCES.read(path)["source"].to_list() == [odd] * 3

    def test_a_damaged_file_of_another_program_is_one_line_or_its_rows(
        self, tmp_path: Path
    ) -> None:
        path = saved(preferences(50), tmp_path / "preferences.parquet")
        content, generator = path.read_bytes(), random.Random(0)
        refused = 0
        for _ in range(300):
            changed = bytearray(content)
            for _ in range(generator.choice((1, 8, 64))):
                changed[generator.randrange(len(changed))] = generator.randrange(256)
            path.write_bytes(changed)
            try:
                PREFERENCES.read(path)
            except DataError as error:
                refused += "\n" not in str(error)
        assert refused > 200


class TestFaults:
    def test_misspelt_column_is_named_with_what_was_meant(self, tmp_path: Path) -> None:
        frame = preferences().rename({"prompt": "prmpt"})
        text = message(saved(frame, tmp_path / "p.parquet"))
        assert "column prompt is missing (did you mean prmpt?)" in text
        assert "column 'prmpt' is not one of pair_id, prompt_id, prompt," in text
        assert text.endswith("rerun prepare or filter, or mend the file")

    def test_dtype(self, tmp_path: Path) -> None:
        frame = preferences().with_columns(p_chosen=pl.lit(0.5))
        text = message(saved(frame, tmp_path / "p.parquet"))
        assert "1 fault in table preferences" in text
        assert "column p_chosen is Float64, needs Float32" in text

    def test_a_table_of_which_no_check_can_be_made_is_one_line(self, tmp_path: Path) -> None:
        frame = pl.DataFrame({name: [1, 2] for name in PREFERENCES.fields})
        text = message(saved(frame, tmp_path / "p.parquet"))
        assert (
            f"{len(PREFERENCES.fields)} faults in table preferences: (1) column pair_id is" in text
        )

    def test_null_names_the_row(self, tmp_path: Path) -> None:
        frame = preferences().with_columns(
            source=pl.when(pl.col("pair_id") != "h1").then(pl.col("source"))
        )
        text = message(saved(frame, tmp_path / "p.parquet"))
        assert "column source is null on 1 row, first pair_id='h1'; needs none" in text

    def test_duplicate_key_shows_an_example(self, tmp_path: Path) -> None:
        frame = preferences()
        frame = pl.concat([frame, frame.tail(1), frame.tail(1)])
        text = message(saved(frame, tmp_path / "p.parquet"))
        assert "2 rows too many for key (pair_id), first repeated pair_id='h2'" in text

    def test_no_rows(self, tmp_path: Path) -> None:
        text = message(saved(PREFERENCES.empty(), tmp_path / "p.parquet"))
        assert "0 rows, needs at least 1" in text

    def test_broken_check_shows_count_row_and_value(self, tmp_path: Path) -> None:
        frame = preferences(4).with_columns(
            p_chosen=pl.Series([0.5, 1.5, float("nan"), 1.0], dtype=pl.Float32)
        )
        text = message(saved(frame, tmp_path / "p.parquet"))
        assert "2 rows against '0 ≤ p_chosen ≤ 1', first pair_id='h1': p_chosen=1.5" in text

    def test_all_faults_stand_in_one_line(self, tmp_path: Path) -> None:
        frame = preferences().with_columns(
            rejected=pl.lit(" \n "), split=pl.lit("dev"), extra=pl.lit(1), p_chosen=pl.lit(1)
        )
        text = message(saved(frame, tmp_path / "p.parquet"))
        assert "4 faults in table preferences: (1) column 'extra'" in text
        assert "(2) column p_chosen is Int32, needs Float32" in text
        assert "(3) 3 rows against 'rejected is not blank', first pair_id='h0'" in text
        assert "rejected=' \\n '" in text
        assert "(4) 3 rows against 'split is one of train, validation, test, autorater'" in text

    def test_long_values_are_cut(self) -> None:
        frame = preferences(1).with_columns(chosen=pl.lit("x" * 999), rejected=pl.lit("x" * 999))
        (fault,) = PREFERENCES.faults(frame)
        assert "chosen ≠ rejected" in fault
        assert len(fault) < 160

    def test_a_row_is_numbered_where_the_key_is_not_there(self, tmp_path: Path) -> None:
        frame = preferences().drop("pair_id").with_columns(chosen=pl.lit(""))
        text = message(saved(frame, tmp_path / "p.parquet"))
        assert "3 rows against 'chosen is not blank', first row 1: chosen=''" in text

    def test_checks_of_columns_that_are_missing_are_left_out(self) -> None:
        assert PREFERENCES.faults(preferences().drop("rejected")) == ["column rejected is missing"]


def test_a_table_with_an_unknown_column_in_a_check_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown columns"):
        Table(
            name="t",
            description="",
            written_by=("s",),
            read_by=(),
            fields={"a": Column(pl.String(), "")},
            key=("a",),
            checks=(Check("b > 0", pl.col("b") > 0, ("a",)),),
        )


class TestWriting:
    def test_equal_frames_give_equal_bytes(self, tmp_path: Path) -> None:
        frame = preferences(5000)
        first, second = tmp_path / "1.parquet", tmp_path / "2.parquet"
        PREFERENCES.write(frame, first)
        pieces = [frame[3000:], frame[:10], frame[10:3000]]
        PREFERENCES.write(pl.concat(pieces, rechunk=False).select(sorted(frame.columns)), second)
        assert first.read_bytes() == second.read_bytes()

    def test_the_number_of_threads_does_not_change_the_bytes(self, tmp_path: Path) -> None:
        code = (
            "import sys, polars as pl\n"
            "from westofn.artifacts.prompts import PROMPTS\n"
            "n = 150_000\n"
            "ids = [f'p{i * 7919 % n:06d}' for i in range(n)]\n"
            "PROMPTS.write(PROMPTS.frame({'prompt_id': ids, 'prompt': ids,"
            " 'split': ['test'] * n}), sys.argv[1])\n"
        )
        contents = []
        for threads in ("1", "3"):
            path = tmp_path / f"{threads}.parquet"
            environment = {**os.environ, "POLARS_MAX_THREADS": threads}
            subprocess.run([sys.executable, "-c", code, path], env=environment, check=True)
            contents.append(path.read_bytes())
        assert contents[0] == contents[1]
        assert PROMPTS.read(tmp_path / "1.parquet").height == 150_000

    def test_a_broken_frame_is_not_written(self, tmp_path: Path) -> None:
        path = tmp_path / "preferences.parquet"
        with pytest.raises(DataError, match=r"not written: 1 fault in table preferences: .*0 rows"):
            PREFERENCES.write(PREFERENCES.empty(), path)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("name", ["fsync", "replace"])
    def test_a_full_disk_leaves_the_earlier_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        path = tmp_path / "preferences.parquet"
        PREFERENCES.write(preferences(3), path)
        earlier = path.read_bytes()

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, name, full)
        with pytest.raises(DataError, match="cannot be written: the disk is full; free some"):
            PREFERENCES.write(preferences(4), path)
        assert path.read_bytes() == earlier
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("name", ["fsync", "replace"])
    def test_an_interrupt_leaves_the_earlier_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        path = tmp_path / "preferences.parquet"
        PREFERENCES.write(preferences(3), path)

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, name, interrupt)
        with pytest.raises(KeyboardInterrupt):
            PREFERENCES.write(preferences(4), path)
        assert PREFERENCES.read(path).height == 3
        assert list(tmp_path.iterdir()) == [path]

    def test_a_kill_between_write_and_rename_leaves_the_earlier_file(self, tmp_path: Path) -> None:
        path = tmp_path / "prompts.parquet"
        frame = PROMPTS.frame({"prompt_id": ["p"], "prompt": ["x"], "split": ["test"]})
        PROMPTS.write(frame, path)
        code = (
            "import os, signal, sys\n"
            "from westofn.artifacts.atomic import write_bytes\n"
            "from pathlib import Path\n"
            "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
            "write_bytes(b'new', Path(sys.argv[1]))\n"
        )
        killed = subprocess.run([sys.executable, "-c", code, path], check=False)
        assert killed.returncode == -9
        assert len(list(tmp_path.iterdir())) == 2  # the temporary file lies beside it
        assert PROMPTS.read(path).equals(frame)

    def test_a_folder_in_the_way_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"cannot be written: a folder has this name"):
            PREFERENCES.write(preferences(), tmp_path)

    def test_a_file_in_place_of_the_parent_folder_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "data").touch()
        with pytest.raises(DataError, match="a part of the path is a file, not a folder"):
            PREFERENCES.write(preferences(), tmp_path / "data" / "preferences.parquet")


def in_files(frame: pl.DataFrame, rows: int, folder: Path) -> list[Path]:
    """Write a frame of table candidates as files of so many rows."""
    files = []
    for start in range(0, frame.height, rows):
        files.append(folder / f"{start:08d}.parquet")
        CANDIDATES.write(frame[start : start + rows], files[-1])
    return files


def candidates(prompts: int, size: int = 3) -> pl.DataFrame:
    rows = prompts * size
    return CANDIDATES.frame(
        {
            "prompt_id": [f"p{row:03d}" for row in range(prompts) for _ in range(size)],
            "candidate_index": list(range(size)) * prompts,
            "response": [f"text {row}" for row in range(rows)],
            "logprob": [-1.0] * rows,
            "n_tokens": [2] * rows,
            "finish_reason": ["stop"] * rows,
        }
    )


class TestParts:
    @pytest.fixture(autouse=True)
    def small_row_groups(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(table, "_ROW_GROUP_ROWS", 7)

    @pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 50])
    def test_parts_are_the_table_cut_between_prompts(self, count: int, tmp_path: Path) -> None:
        path = tmp_path / "candidates.parquet"
        CANDIDATES.write(candidates(10), path)
        parts = list(CANDIDATES.parts(path, count))
        assert pl.concat(parts).equals(CANDIDATES.read(path))
        sizes = [part["prompt_id"].n_unique() for part in parts]
        assert sizes == [count] * (10 // count) + [10 % count] * (10 % count > 0)

    def test_a_file_of_another_program_may_have_any_order(self, tmp_path: Path) -> None:
        path = saved(candidates(10).reverse(), tmp_path / "candidates.parquet")
        assert pl.concat(CANDIDATES.parts(path, 3)).equals(candidates(10))

    def test_no_part_of_a_damaged_file_is_given(self, tmp_path: Path) -> None:
        path = tmp_path / "candidates.parquet"
        CANDIDATES.write(candidates(10), path)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        with pytest.raises(DataError, match="does not have the SHA-256 that it names"):
            next(CANDIDATES.parts(path, 1))

    @pytest.mark.parametrize(
        ("frame", "fault"),
        [
            (candidates(10)[:-1], "2 rows against 'every prompt has as many"),
            (candidates(9).vstack(candidates(10, 4)[-4:]), "27 rows against 'every prompt has as"),
            (candidates(10).vstack(candidates(1)), "3 rows too many for key"),
            (candidates(10).reverse(), r"rows are not sorted by \(prompt_id, candidate_index\)"),
            (candidates(10)[15:].vstack(candidates(10)[:15]), "rows are not sorted by"),
            (candidates(10).with_columns(n_tokens=pl.lit(0, pl.Int32)), "30 rows against 'n_tok"),
            (candidates(0), "0 rows, needs at least 1"),
        ],
    )
    def test_what_the_whole_table_breaks_is_found_in_parts(
        self, frame: pl.DataFrame, fault: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "candidates.parquet"
        path.write_bytes(table._encode(frame))  # with a checksum, so that it is read by row groups
        with pytest.raises(DataError, match=fault):
            list(CANDIDATES.parts(path, 2))

    @pytest.mark.parametrize("size", [1, 4, 100])
    def test_gathered_parts_have_the_bytes_of_the_whole(self, size: int, tmp_path: Path) -> None:
        frame = candidates(10)
        CANDIDATES.write(frame, tmp_path / "whole.parquet")
        CANDIDATES.gather(in_files(frame, 3 * size, tmp_path), tmp_path / "gathered.parquet")
        gathered = (tmp_path / "gathered.parquet").read_bytes()
        assert gathered == (tmp_path / "whole.parquet").read_bytes()

    def test_parts_that_are_no_table_together_are_not_gathered(self, tmp_path: Path) -> None:
        files, path = in_files(candidates(10), 6, tmp_path), tmp_path / "gathered.parquet"
        path.write_bytes(b"before")
        with pytest.raises(DataError, match=r"gathered.parquet: not written: rows are not sorted"):
            CANDIDATES.gather(files[::-1], path)
        CANDIDATES.write(candidates(1, 2), files[0])
        with pytest.raises(DataError, match="against 'every prompt has as many candidates"):
            CANDIDATES.gather(files, path)
        assert path.read_bytes() == b"before"
        assert not list(tmp_path.glob(".*"))

    def test_a_full_disk_leaves_what_was_there(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise pl.exceptions.ComputeError("parquet: No space left on device (os error 28)")

        files = in_files(candidates(10), 6, tmp_path)
        monkeypatch.setattr(pl.LazyFrame, "sink_parquet", refuse)
        with pytest.raises(DataError, match=r"new.parquet: cannot be written: the disk is full"):
            CANDIDATES.gather(files, tmp_path / "new.parquet")
        assert sorted(tmp_path.iterdir()) == files

    def test_a_damaged_part_is_named(self, tmp_path: Path) -> None:
        files = in_files(candidates(10), 6, tmp_path)
        content = bytearray(files[2].read_bytes())
        content[len(content) // 2] ^= 1
        files[2].write_bytes(content)
        with pytest.raises(DataError, match=f"{files[2].name}: does not have the SHA-256 that it"):
            CANDIDATES.gather(files, tmp_path / "gathered.parquet")

    def test_a_table_whose_checks_need_all_rows_is_not_read_in_parts(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="preferences is not read in parts"):
            next(PREFERENCES.parts(tmp_path / "preferences.parquet", 1))


GATHERING = """
import re, sys
from pathlib import Path
import numpy as np, polars as pl
from westofn.artifacts.candidates import CANDIDATES

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024

folder = Path(sys.argv[1])
numbers = np.random.default_rng(0).integers(0, 10**6, (4000, 40))
text = pl.Series([" ".join(map(str, row)) for row in numbers])
files = []
for shard in range(100):
    rows = np.arange(shard * 16_000, (shard + 1) * 16_000)
    frame = CANDIDATES.frame({
        "prompt_id": np.char.mod("p%07d", rows // 8), "candidate_index": rows % 8,
        "response": text.gather(rows % 4000), "logprob": -np.ones(16_000),
        "n_tokens": rows % 8 + 1, "finish_reason": ["stop"] * 16_000,
    })
    files.append(folder / f"{shard:03d}.parquet")
    CANDIDATES.write(frame, files[-1])
before = peak()
CANDIDATES.gather(files, folder / "all.parquet")
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux alone tells the peak")
def test_gathering_takes_less_memory_than_the_rows(tmp_path: Path) -> None:
    environment = os.environ | {"POLARS_MAX_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", GATHERING, str(tmp_path)],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    # 1.6 million responses of 275 characters are 420 MiB.
    assert float(done.stdout) < 200


def test_importing_all_tables_needs_no_heavy_package() -> None:
    code = (
        "import sys, westofn.artifacts.catalogue, westofn.artifacts.json_file\n"
        "print([m for m in ('torch', 'transformers', 'pyarrow', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_empty_has_no_rows_and_the_columns_of_the_table(tmp_path: Path) -> None:
    WORLD.write(WORLD.empty(), tmp_path / "world.parquet")
    assert WORLD.read(tmp_path / "world.parquet").schema == WORLD.columns


def test_frame_gives_the_dtypes_of_the_table() -> None:
    frame = PAIRS.frame(
        {
            "prompt_id": ["p"],
            "chosen_index": [0],
            "rejected_index": [1],
            "p_chosen": [0.9],
            "pool_std": [None],
            "fault": [None],
        }
    )
    assert dict(frame.schema) == PAIRS.columns
    assert PAIRS.nullable == {"pool_std", "fault"}
    assert CANDIDATES.nullable == frozenset()
