"""Stage 6 of 9, `filter`: pairs -> the student's synthetic preferences, and why others go.

reads   data/prepared/prompts.parquet, data/loop/k1/candidates.parquet,
        data/loop/k1/pairs/{pairs.parquet,summary.json}
writes  data/loop/k1/synthetic/{preferences,decisions}.parquet, summary.json
"""

from __future__ import annotations

from stages.common import In, Out, run
from westofn.artifacts.atomic import whole_folder
from westofn.artifacts.decisions import DECISIONS
from westofn.artifacts.json_file import read_as, write_json
from westofn.artifacts.pairs import PAIRS
from westofn.artifacts.pools import PROMPTS_AT_ONCE, pool_rows
from westofn.artifacts.preferences import PREFERENCES
from westofn.artifacts.prompts import PROMPTS
from westofn.execution.account import tell
from westofn.execution.stage_accounts import filter_account, limit_of
from westofn.pairing.filters import filter_frames
from westofn.params.file import load_section
from westofn.params.filter import FilterParams


def main(prepared: In, candidates: In, pairs: In, out: Out) -> None:
    """Keep the confident and likely pairs."""
    filtered = filter_frames(
        PAIRS.read(pairs / "pairs.parquet"),
        pool_rows(candidates, PROMPTS.read(prepared / "prompts.parquet"), PROMPTS_AT_ONCE),
        load_section(FilterParams),
    )
    with whole_folder(out) as place:
        PREFERENCES.write(filtered.preferences(out.parent.name), place / "preferences.parquet")
        DECISIONS.write(filtered.decisions, place / "decisions.parquet")
        write_json(filtered.summary, place / "summary.json")
    limit = read_as(limit_of, pairs / "summary.json", "won_select")
    tell(filter_account(filtered.summary, limit))


if __name__ == "__main__":
    run(main)
