"""Exemplars of a table of files and a table of instruction pairs."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.quality import exemplars
from snow_assets.recipe import SMOKE, ExemplarRecipe, FilePositives, RowPositives, Source
from snow_assets.storage import shards
from tests.artifacts import finish
from tests.quality.builders import FINGERPRINT, good_code


def parquet_of_files(path: Path) -> FilePositives:
    """A row for each file of four repositories."""
    rows = [
        {
            "repo_name": f"good/{number % 4}",
            "path": f"{number}.py",
            "content": good_code(f"file {number}"),
            "license": "MIT",
        }
        for number in range(16)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    source = Source(name="files", kind="rows", locations=(str(path),), files_per_repository=None)
    return replace(SMOKE.exemplars.file_groups[0], source=source, min_docstring_chars=None)


def instruction_pairs(path: Path) -> RowPositives:
    rows = (
        {
            "prompt": f"WRITE PROGRAM {number}",
            "response": f"```python\n{good_code(f'pair {number}')}```",
        }
        for number in range(12)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RowPositives(
        name="pairs",
        locations=(str(path),),
        license="MIT",
        prompt_column="prompt",
        response_column="response",
        messages_column=None,
        language_column=None,
        default_language=None,
        max_positives=8,
        weight=2.0,
    )


def files_and_pairs(folder: Path) -> ExemplarRecipe:
    """16 files in `files.parquet` and 12 pairs in `pairs.jsonl` of a folder."""
    return ExemplarRecipe(
        groups=(
            parquet_of_files(folder / "files.parquet"),
            instruction_pairs(folder / "pairs.jsonl"),
        )
    )


def written_exemplars(lake: str, groups: ExemplarRecipe) -> Mapping[str, Any]:
    """Finish an `exemplars` artifact of these groups; return its stats."""
    folder = f"{lake}/exemplars/all/{FINGERPRINT}"
    stats = exemplars.write(
        folder,
        recipe=groups,
        corpus=SMOKE.corpus,
        languages=("python",),
        problems=shards.read(f"{lake}/benchmark_problems/all/{FINGERPRINT}", "problems"),
        contamination=SMOKE.curation.contamination,
        opted_out=frozenset(),
    )
    finish(folder)
    return stats
