"""How the cost of joins grows with a corpus's documents: `python benchmarks/growth.py`.

A language of 100,000, 200,000 and 400,000 kept documents is generated in a temporary folder, with a
short text each; 1 % is held out and 30 % of the others are selected. Prints CPU seconds, those of
polars' threads included, of the held-out check of packs, the read of the selected documents and
the check of the selection.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import polars as pl
import pyarrow as pa

from snow_assets.curation.split import assert_no_held_out
from snow_assets.quality.selection import selected_documents, validate_selection
from snow_assets.storage import shards
from snow_assets.storage.schemas import DECISION, DOCUMENT, SELECTION

SIZES = (100_000, 200_000, 400_000)
SHARD_ROWS = 10_000
DOCUMENT_COLUMNS = pa.schema([DOCUMENT.field("document_id"), DOCUMENT.field("text")])


def finish(folder: str, inputs: tuple[str, ...] = ()) -> str:
    """Write an artifact's manifest."""
    asset, partition, fingerprint = folder.rsplit("/", 3)[1:]
    named = [
        shards.Input(
            asset=url.rsplit("/", 3)[1],
            partition=url.rsplit("/", 3)[2],
            fingerprint=url.rsplit("/", 3)[3],
            digest=shards.manifest(url).digest,
        )
        for url in inputs
    ]
    shards.finish(
        folder,
        asset=asset,
        partition=partition,
        fingerprint=fingerprint,
        code_version="1",
        recipe="GROWTH",
        config={},
        inputs=named,
        stats={},
    )
    return folder


def generate(lake: str, num_documents: int) -> tuple[str, str, list[str]]:
    """Write a language; return the folders of its decisions and selection, and the train ids."""
    documents, clean, subset = (
        f"{lake}/{asset}/all/0" for asset in ("documents", "clean_corpus", "high_quality_subset")
    )
    train_ids: list[str] = []
    for index, start in enumerate(range(0, num_documents, SHARD_ROWS)):
        numbers = range(start, start + SHARD_ROWS)
        ids = [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]
        held_out = [number % 100 == 0 for number in numbers]
        common = dict.fromkeys(("raw_id", "source", "revision", "path", "license"), "x")
        rows = [
            {
                **common,
                "document_id": name,
                "text_id": name,
                "cluster_id": name,
                "repository": f"repository {number // 100}",
                "language": "python",
                "num_bytes": 10,
                "kept": True,
                "split": "held_out" if is_held_out else "train",
                "num_tokens": 3,
            }
            for number, name, is_held_out in zip(numbers, ids, held_out, strict=True)
        ]
        texts = [{"document_id": name, "text": "print(1)"} for name in ids]
        stats = {"language": "python"}
        shards.put_table(documents, "documents", index, texts, DOCUMENT_COLUMNS, stats=stats)
        stats = {"documents": f"all/0/{shards.table_name('documents', index)}"}
        shards.put_table(clean, "decisions", index, rows, DECISION, stats=stats)
        train_ids += [row["document_id"] for row in rows if row["split"] == "train"]
    ranked = [
        {
            "document_id": name,
            "text_id": name,
            "repository": "x",
            "license": "x",
            "num_tokens": 3,
            "logit": 0.0,
            "percentile": 0.5,
            "repeats": 4 if number % 10 < 3 else 0,
        }
        for number, name in enumerate(train_ids)
    ]
    shards.put_table(subset, "documents", 0, ranked, SELECTION)
    finish(documents)
    return finish(clean, (documents,)), finish(subset), train_ids


def cpu_seconds(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def measure(num_documents: int) -> list[float]:
    """CPU seconds of each operation."""
    with tempfile.TemporaryDirectory() as lake:
        clean, subset, train_ids = generate(lake, num_documents)
        ids = pl.Series(train_ids)
        columns = ("document_id", "text")
        return [
            cpu_seconds(lambda: assert_no_held_out(ids, [clean])),
            cpu_seconds(lambda: list(selected_documents(clean, subset, columns=columns))),
            cpu_seconds(lambda: validate_selection(clean, subset, max_repeats=4)),
        ]


def main() -> None:
    print(f"{'documents':>10} {'held-out check':>15} {'selected read':>15} {'selection check':>15}")
    for num_documents in SIZES:
        seconds = measure(num_documents)
        print(f"{num_documents:>10,}", *(f"{value:>15.2f}" for value in seconds), flush=True)


if __name__ == "__main__":
    main()
