"""What can be wrong with curation's tables, as sentences; the checks show them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.curation.document_shards import document_shards
from snow_assets.curation.exemptions import exempt_document_ids
from snow_assets.curation.split import HELD_OUT, TRAIN
from snow_assets.recipe import ContaminationExemption


def wrong_document_counts(folders: Sequence[str]) -> list[str]:
    """Sources whose documents and drops are not what was received."""
    wrong = []
    for folder in folders:
        received = sum(
            shards.manifest(raw).num_rows("files")
            for raw in shards.input_folders(folder, "raw_code_corpus")
        )
        manifest = shards.manifest(folder)
        there = manifest.num_rows("documents") + manifest.num_rows("drops")
        if received != there:
            wrong.append(f"{folder}: {received} files received, {there} in documents and drops")
    return wrong


def wrong_survivors(folder: str) -> list[str]:
    """Clusters without exactly one survivor, and copies among survivors."""
    manifest = shards.manifest(folder)
    if not manifest.tables("clusters"):
        return []
    columns = ["text_id", "cluster_id", "is_survivor"]
    clusters = shards.read(folder, "clusters", columns=columns)
    alive = clusters.filter(clusters["is_survivor"])
    counts = Counter(alive["cluster_id"].to_pylist())
    wrong = [f"cluster {name} has {count} survivors" for name, count in counts.items() if count > 1]
    lost = set(clusters["cluster_id"].to_pylist()) - counts.keys()
    wrong += [f"cluster {name} has no survivor" for name in sorted(lost)]
    texts = Counter(alive["text_id"].to_pylist())
    wrong += [f"text {name} survives {count} times" for name, count in texts.items() if count > 1]
    pairs = shards.read(folder, "pairs", columns=["text_id", "other_text_id"]).to_pylist()
    return wrong + [
        f"text {pair['text_id']} and its near copy {pair['other_text_id']} both survive"
        for pair in pairs
        if pair["text_id"] in texts and pair["other_text_id"] in texts
    ]


def wrong_decision_counts(clean_folders: Sequence[str]) -> list[str]:
    """Languages whose decisions are not one per document, kept or with a reason."""
    wrong = []
    for folder in clean_folders:
        manifest = shards.manifest(folder)
        sources = document_shards(
            shards.input_folders(folder, "documents"), language=manifest.partition
        )
        came = sum(source.num_rows for source in sources)
        table = shards.read(folder, "decisions", columns=["kept", "reason", "split", "num_tokens"])
        if came != table.num_rows:
            wrong.append(f"{manifest.partition}: {came} documents, {table.num_rows} decisions")
        for column, is_of_kept in (("reason", False), ("split", True), ("num_tokens", True)):
            told = pc.is_valid(table[column])
            stray = pc.sum(pc.xor(told, table["kept"] if is_of_kept else pc.invert(table["kept"])))
            if stray.as_py():
                wrong.append(f"{manifest.partition}: {column} contradicts kept in {stray} rows")
    return wrong


def kept_contamination(clean_folders: Sequence[str]) -> list[str]:
    """Kept documents whose text is known to quote a benchmark problem, and that nobody exempted."""
    wrong = []
    for folder in clean_folders:
        settings = shards.manifest(folder).settings or {}
        exemptions = [
            ContaminationExemption(**entry)
            for entry in settings.get("contamination_exemptions", ())
        ]
        exempt = exempt_document_ids([folder], exemptions)
        quoting = {
            hit["text_id"]: hit["problem_id"]
            for hits in shards.input_folders(folder, "contamination")
            for batch in shards.batches(hits, "hits", columns=["text_id", "problem_id"])
            for hit in batch.to_pylist()
        }
        table = shards.read(folder, "decisions", columns=["document_id", "text_id", "kept"])
        wrong += [
            f"document {row['document_id']} is kept and quotes {quoting[row['text_id']]}"
            for row in table.filter(table["kept"]).to_pylist()
            if row["text_id"] in quoting and row["document_id"] not in exempt
        ]
    return wrong


def split_faults(clean_folders: Sequence[str]) -> list[str]:
    """Where train and held-out documents share a repository, a text or a near-duplicate cluster.

    Memory: the repositories, texts and clusters of the held-out documents.
    """
    columns = ["repository", "text_id", "cluster_id"]
    held: dict[str, set[str]] = {column: set() for column in columns}
    for row in _kept(clean_folders, HELD_OUT, columns):
        for column in columns:
            held[column].add(row[column])
    return [
        f"the train document {row['document_id']} shares its {column} {row[column]} with a "
        "held-out one"
        for row in _kept(clean_folders, TRAIN, ["document_id", *columns])
        for column in columns
        if row[column] in held[column]
    ]


def _kept(folders: Sequence[str], split: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for folder in folders:
        for batch in shards.batches(folder, "decisions", columns=[*columns, "split"], rows=4096):
            chosen = pc.fill_null(pc.equal(batch["split"], split), False)
            yield from batch.filter(chosen).to_pylist()
