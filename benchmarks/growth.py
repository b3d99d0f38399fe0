"""How costs grow with a corpus: `python benchmarks/growth.py`, or `... records` for artifacts,
`... split` for held-out repositories, `... ranking` for the selection, `... checks` for its checks,
`... curation` for those of curation.

A language of 100,000, 200,000 and 400,000 kept documents is generated in a temporary folder, with a
short text each; 1 % is held out and 30 % of the others are selected. Prints CPU seconds, those of
polars' threads included, of the held-out check of packs, the read of the selected documents and
the check of the selection.

`records`: an artifact of 10,000 and 100,000 shards is finished, its manifest read, and then one of
its shards; CPU seconds, and peak memory of a process that does it.

`split`: 250,000 and 1,000,000 repositories of sizes like Zipf's, each in one or two languages. The
held-out ones are chosen, and then read for all languages; CPU seconds, peak memory of a process
that does it, and the bytes of the files that it reads.

`ranking`: a language of 250,000, 1,000,000 and 4,000,000 scored documents is ranked; CPU seconds,
and peak memory of a process that does it.

`checks`: the scores and the selection of 250,000, 1,000,000 and 4,000,000 documents are checked,
and the selected ones counted as a source of packs; CPU seconds, and peak memory of a process that
does it.

`curation`: the same of the checks of clusters and decisions of 250,000, 1,000,000 and 4,000,000
documents, of which a fifth are near duplicates, and of the count of the largest clusters.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from peak import peak_bytes

from snow_assets.curation import asset_metadata, violations
from snow_assets.curation.dedup.canonical_documents import REPOSITORY
from snow_assets.curation.held_out import DOCUMENT_IDS, assert_no_held_out
from snow_assets.curation.split import (
    put_held_out_repositories,
    read_held_out,
)
from snow_assets.pretraining.sources import high_quality_sources
from snow_assets.quality import scores, selection
from snow_assets.recipe import ARCTIC
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.storage import checked_json, shards
from snow_assets.storage.schemas.curation import (
    CONTAMINATION,
    DECISION,
    DOCUMENT,
    DUPLICATE_CLUSTER,
    DUPLICATE_PAIR,
)
from snow_assets.storage.schemas.quality import SCORE, SELECTION

CURATION = ARCTIC.curation
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


def as_it_is(table: pa.Table) -> pa.Table:
    return table


def cpu_seconds(work: Callable[[], Any]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def measure(num_documents: int) -> list[float]:
    """CPU seconds of each operation."""
    with tempfile.TemporaryDirectory() as lake:
        clean, subset, train_ids = generate(lake, num_documents)
        ids = [
            pa.table([train_ids[start : start + SHARD_ROWS]], schema=DOCUMENT_IDS)
            for start in range(0, len(train_ids), SHARD_ROWS)
        ]
        columns = ("document_id", "text")
        return [
            cpu_seconds(
                lambda: assert_no_held_out(
                    IN_PROCESS.map_shards(as_it_is, ids, schema=DOCUMENT_IDS),
                    [clean],
                    num_documents=len(train_ids),
                    exchange=IN_PROCESS,
                )
            ),
            cpu_seconds(lambda: list(selection.selected_documents(clean, subset, columns=columns))),
            cpu_seconds(lambda: selection.validate_selection(clean, subset, max_repeats=4)),
        ]


def put_records(folder: Path, num_shards: int) -> None:
    """The records of so many shards, of which the last is there."""
    schema = pa.schema([("text_id", pa.string())])
    ids = [hashlib.sha256(str(row).encode()).hexdigest() for row in range(10)]
    name = shards.table_name("documents", num_shards - 1)
    stats = {"documents": f"source/{'0' * 32}/{name}", "language": "python", "counts": {"kept": 1}}
    table = [{"text_id": text_id} for text_id in ids]
    shards.put_table(str(folder), "documents", num_shards - 1, table, schema, stats=stats)
    record = json.loads(shards.get(str(folder / shards.record_name(name))))
    del record[checked_json.CHECKSUM]
    for index in range(num_shards - 1):  # without the flush of each that a shard's writer awaits
        content = {**record, "name": shards.table_name("documents", index)}
        path = folder / shards.record_name(content["name"])
        path.write_bytes(checked_json.dump(content))


def measure_records(folder: str, num_shards: int) -> None:
    """Print the CPU seconds of each operation, and the peak memory so far in MB."""
    name = shards.table_name("documents", num_shards - 1)
    operations: dict[str, Callable[[], object]] = {
        "finish": lambda: finish(folder),
        "manifest": lambda: shards.manifest(folder),
        "shard": lambda: shards.read_shard(folder, name, columns=["text_id"]),
    }
    for operation in sys.argv[4:]:
        seconds = cpu_seconds(operations[operation])
        print(f"{num_shards:>10,} {operation:>10} {seconds:>8.2f} s {peak_bytes() / 1e6:>8.0f} MB")


def records() -> None:
    for num_shards in (10_000, 100_000):
        with tempfile.TemporaryDirectory() as lake:
            folder = Path(lake, "documents", "source", "0" * 32)
            put_records(folder, num_shards)
            for operation in ("finish", "manifest", "shard"):
                command = [sys.executable, __file__, "measure", str(folder), str(num_shards)]
                subprocess.run([*command, operation], check=True)


def put_repositories(lake: str, num_repositories: int) -> None:
    """The table `repositories` of near_duplicates, in ARCTIC's languages."""
    folder = f"{lake}/near_duplicates/all/0"
    languages = np.array(CURATION.languages)
    numbers = np.repeat(np.arange(num_repositories), 1 + np.arange(num_repositories) % 2)
    is_second = np.concatenate([[False], numbers[1:] == numbers[:-1]])
    columns = [
        pa.array(np.array(["first", "second"])[numbers % 2]),
        pa.array([f"owner{number % 1_000_003}/repository{number}" for number in numbers.tolist()]),
        pa.array(languages[(numbers * 7 + is_second) % len(languages)]),
        pa.array(np.ones(len(numbers), np.int64)),
        pa.array(10_000_000 // (1 + numbers) + 1_000),
    ]
    table = pa.table(columns, schema=REPOSITORY)
    shards.put_table(folder, "repositories", 0, table, REPOSITORY)
    finish(folder)


def measure_split(lake: str, operation: str, _: str) -> None:
    """Print the CPU seconds, the peak memory in MB, and the MB of the table that is read."""
    near_duplicates, held_out = (
        f"{lake}/{asset}/all/0" for asset in ("near_duplicates", "held_out_repositories")
    )
    if operation == "choose":
        seconds = cpu_seconds(
            lambda: put_held_out_repositories(near_duplicates, held_out, recipe=CURATION)
        )
        finish(held_out)
        num_bytes = shards.manifest(near_duplicates).files.total("num_bytes")
    else:
        seconds = cpu_seconds(
            lambda: [read_held_out(held_out, language=name) for name in CURATION.languages]
        )
        num_bytes = shards.manifest(held_out).files.total("num_bytes")
    memory = f"{peak_bytes() / 1e6:>8.0f} MB {num_bytes / 1e6:>8.1f} MB read"
    print(f"{operation:>10} {seconds:>8.2f} s {memory}", flush=True)


def decision_columns(
    numbers: range, ids: list[str], generator: np.random.Generator
) -> dict[str, Any]:
    """The columns of DECISION of kept training documents, a hundred of each repository."""
    constant = dict.fromkeys(("source", "revision", "path", "license"), "MIT")
    return {
        **{name: pa.repeat(value, len(ids)) for name, value in constant.items()},
        **dict.fromkeys(("raw_id", "document_id", "text_id", "cluster_id"), ids),
        "repository": [f"owner/repository{number // 100}" for number in numbers],
        "language": pa.repeat("python", len(ids)),
        "num_bytes": generator.integers(100, 10_000, len(ids)),
        "kept": pa.repeat(True, len(ids)),
        "split": pa.repeat("train", len(ids)),
        "num_tokens": generator.integers(30, 3_000, len(ids)),
    }


def as_table(columns: dict[str, Any], schema: pa.Schema) -> pa.Table:
    """A table of columns; those that are not there are null."""
    num_rows = max(map(len, columns.values()))
    arrays = [
        pa.array(columns[field.name]) if field.name in columns else pa.nulls(num_rows)
        for field in schema
    ]
    return pa.table(arrays, names=schema.names).cast(schema)


def put_scored(lake: str, num_documents: int) -> None:
    """A language's decisions, scores and a selection of a third, in shards of 50,000."""
    generator = np.random.default_rng(0)
    step = 50_000
    clean, scored = f"{lake}/clean_corpus/python/0", f"{lake}/quality_scores/python/0"
    subset = f"{lake}/high_quality_subset/python/0"
    for index, start in enumerate(range(0, num_documents, step)):
        numbers = range(start, min(start + step, num_documents))
        ids = [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]
        columns = decision_columns(numbers, ids, generator)
        shards.put_table(clean, "decisions", index, as_table(columns, DECISION), DECISION)
        order = generator.permutation(len(ids))
        logits = generator.normal(size=len(ids))
        part = {
            "text_id": [ids[row] for row in order],
            "annotator": pa.repeat("1", len(ids)),
            **dict.fromkeys(("logit", "top_logit"), logits),
            "num_windows": np.ones(len(ids), np.int32),
        }
        shards.put_table(scored, "scores", index, as_table(part, SCORE), SCORE)
        columns |= {
            "logit": logits.astype(np.float32),
            "percentile": np.ones(len(ids)),
            "repeats": generator.integers(0, 9, len(ids)) // 6,
        }
        shards.put_table(subset, "documents", index, as_table(columns, SELECTION), SELECTION)
    finish(clean)
    finish(scored)
    finish(subset)


def measure_ranking(lake: str, operation: str, num_documents: str) -> None:
    """Print the CPU seconds, of polars' threads too, and the peak memory in MB."""
    recipe = replace(ARCTIC.selection, budget_tokens=10_000_000)
    seconds = cpu_seconds(
        lambda: selection.write(
            f"{lake}/high_quality_subset/python/0",
            clean_folder=f"{lake}/clean_corpus/python/0",
            scores_folder=f"{lake}/quality_scores/python/0",
            language="python",
            language_tokens={"python": 1_000 * int(num_documents)},
            gates=selection.LanguageGates(
                annotator="1", failures={"python": []}, ungated=frozenset()
            ),
            recipe=recipe,
        )
    )
    print(f"{operation:>10} {seconds:>8.2f} s {peak_bytes() / 1e6:>8.0f} MB", flush=True)


def measure_checks(lake: str, operation: str, _: str) -> None:
    """Print the CPU seconds, of polars' threads too, and the peak memory in MB."""
    clean, scored, subset = (
        f"{lake}/{asset}/python/0"
        for asset in ("clean_corpus", "quality_scores", "high_quality_subset")
    )
    operations: dict[str, Callable[[], object]] = {
        "scores": lambda: scores.validate_scores(clean, scored),
        "selection": lambda: selection.validate_selection(clean, subset, max_repeats=4),
        "sources": lambda: high_quality_sources([clean], [subset], max_passes=4),
    }
    seconds = cpu_seconds(operations[operation])
    print(f"{operation:>10} {seconds:>8.2f} s {peak_bytes() / 1e6:>8.0f} MB", flush=True)


def put_curated(lake: str, num_documents: int) -> None:
    """Clusters of which each fifth document is in that of the one before it, their pairs, and a
    language's decisions, of which each hundredth repository is held out; no text has a hit."""
    generator = np.random.default_rng(0)
    step = 50_000
    verified, clusters, clean, hits = (
        f"{lake}/{asset}/0"
        for asset in (
            "verified_pairs/all",
            "near_duplicates/all",
            "clean_corpus/python",
            "contamination/a",
        )
    )
    for index, start in enumerate(range(0, num_documents, step)):
        numbers = range(start, min(start + step, num_documents))
        ids = [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]
        columns = decision_columns(numbers, ids, generator)
        columns["split"] = ["train" if number // 100 % 100 else "held_out" for number in numbers]
        shards.put_table(clean, "decisions", index, as_table(columns, DECISION), DECISION)
        is_duplicate = np.arange(len(ids)) % 5 == 4
        columns["cluster_id"] = np.array(ids)[np.arange(len(ids)) - is_duplicate]
        columns["is_canonical"] = ~is_duplicate
        table = as_table(columns, DUPLICATE_CLUSTER)
        shards.put_table(clusters, "clusters", index, table, DUPLICATE_CLUSTER)
        pairs = np.sort(np.stack([ids[3::5], ids[4::5]]), axis=0)
        names = ("text_id", "other_text_id", "jaccard")
        columns = dict(zip(names, (*pairs, np.full(pairs.shape[1], 0.9)), strict=True))
        shards.put_table(
            verified, "pairs", index, as_table(columns, DUPLICATE_PAIR), DUPLICATE_PAIR
        )
    shards.put_table(hits, "hits", 0, [], CONTAMINATION)
    finish(clusters, (finish(verified),))
    finish(clean, (finish(hits),))


def measure_curation(lake: str, operation: str, num_documents: str) -> None:
    """Print the CPU seconds, of polars' threads too, and the peak memory in MB."""
    clusters, clean = f"{lake}/near_duplicates/all/0", f"{lake}/clean_corpus/python/0"
    stats = {"documents": int(num_documents), "canonical": int(num_documents) * 4 // 5}
    operations: dict[str, Callable[[], object]] = {
        "largest": lambda: asset_metadata.clusters(clusters, stats),
        "clusters": lambda: violations.validate_clusters(clusters),
        "decisions": lambda: violations.validate_decision_counts([clean]),
        "hits": lambda: violations.validate_contamination([clean]),
        "split": lambda: violations.validate_split([clean]),
    }
    seconds = cpu_seconds(operations[operation])
    print(f"{operation:>10} {seconds:>8.2f} s {peak_bytes() / 1e6:>8.0f} MB", flush=True)


def joins() -> None:
    print(f"{'documents':>10} {'held-out check':>15} {'selected read':>15} {'selection check':>15}")
    for num_documents in SIZES:
        seconds = measure(num_documents)
        print(f"{num_documents:>10,}", *(f"{value:>15.2f}" for value in seconds), flush=True)


def grow(
    put: Callable[[str, int], None],
    measure: Callable[[str, str, str], None],
    operations: Sequence[str],
    *,
    sizes: Sequence[int] = (250_000, 1_000_000, 4_000_000),
    unit: str = "documents",
) -> None:
    """Make a lake of each size, and measure each operation on it in a process of its own."""
    for size in sizes:
        with tempfile.TemporaryDirectory() as lake:
            put(lake, size)
            print(f"{size:,} {unit}", flush=True)
            for operation in operations:
                command = [sys.executable, __file__, measure.__name__, lake, operation, str(size)]
                subprocess.run(command, check=True)


MODES: dict[str, Callable[[], None]] = {
    "records": records,
    "split": lambda: grow(
        put_repositories,
        measure_split,
        ("choose", "read"),
        sizes=(250_000, 1_000_000),
        unit="repositories",
    ),
    "ranking": lambda: grow(put_scored, measure_ranking, ("ranking",)),
    "checks": lambda: grow(put_scored, measure_checks, ("scores", "selection", "sources")),
    "curation": lambda: grow(
        put_curated, measure_curation, ("largest", "clusters", "decisions", "hits", "split")
    ),
}
MEASURES = {
    measure.__name__: measure
    for measure in (measure_split, measure_ranking, measure_checks, measure_curation)
}


def main() -> None:
    name, *arguments = sys.argv[1:] or ("",)
    if name in MEASURES:
        MEASURES[name](*arguments)
    elif name == "measure":
        measure_records(arguments[0], int(arguments[1]))
    else:
        MODES.get(name, joins)()


if __name__ == "__main__":
    main()
