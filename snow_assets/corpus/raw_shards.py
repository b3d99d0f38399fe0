"""Shards of `raw_code_corpus`: admitted files and drops, with counts and names in their records."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import DROP, RAW_FILE

FILES, DROPS = "files", "drops"

Position = tuple[int, int]
"""In a source: the index of a unit, and the number of rows that it has yielded."""


def put_drops(folder: str, index: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a shard of drops, before the files of the same index."""
    reasons = Counter(str(row["reason"]) for row in rows)
    shards.put_table(folder, DROPS, index, rows, DROP, stats={"counts": {"reasons": reasons}})


def put_files(
    folder: str,
    index: int,
    files: pa.Table,
    *,
    languages: Sequence[str],
    names: Mapping[str, Sequence[str]],
    after: Position | None,
) -> None:
    """Write a shard of RAW_FILE; its record marks the shard of both tables as complete.

    `languages`: of each file, by its name. `names`: a repository's names elsewhere. `after`: where
    in the source the next shard begins; None: nothing follows in its group of units.
    """
    runs = [name for name, _ in itertools.groupby(files["repository"].to_pylist())]
    stats = {
        "counts": {
            "licenses": Counter(files["license"].to_pylist()),
            "languages": Counter(languages),
        },
        "repositories": {"num": len(runs), "first": runs[0], "last": runs[-1]} if runs else None,
        "next": after,
        "names": {repository: names[repository] for repository in runs if names.get(repository)},
    }
    shards.put_table(folder, FILES, index, files, RAW_FILE, stats=stats)


def ingest_stats(folder: str) -> dict[str, Any]:
    """Counts over all finished shards: input files, admitted files, and drops by reason.

    A repository whose rows are not contiguous in its source counts once per run of rows.
    """
    total = {name: Counter[str]() for name in ("licenses", "languages", "reasons")}
    num_repositories, last = 0, None
    for entry in shards.records(folder):
        for name, counts in entry.stats.get("counts", {}).items():
            total[name].update(counts)
        if runs := entry.stats.get("repositories"):
            num_repositories += runs["num"] - (runs["first"] == last)
            last = runs["last"]
    files, drops = total["licenses"].total(), total["reasons"].total()
    return {
        "num_files_in": files + drops,
        "num_files": files,
        "num_drops": drops,
        "num_repositories": num_repositories,
        **{name: dict(sorted(counts.items())) for name, counts in total.items()},
    }
