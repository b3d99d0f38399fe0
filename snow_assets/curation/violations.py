"""Validate curation's tables; each function returns violations as sentences for asset checks."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.compute as pc

from snow_assets.curation.decontamination.exemptions import exempt_document_ids
from snow_assets.curation.document_shards import document_shards
from snow_assets.curation.split import HELD_OUT, TRAIN
from snow_assets.recipe import ContaminationExemption
from snow_assets.storage import shards


def validate_document_counts(folders: Sequence[str]) -> list[str]:
    """Sources whose documents and drops do not add up to the raw files."""
    violations = []
    for folder in folders:
        num_files = sum(
            shards.manifest(raw).num_rows("files")
            for raw in shards.input_folders(folder, "raw_code_corpus")
        )
        manifest = shards.manifest(folder)
        num_rows = manifest.num_rows("documents") + manifest.num_rows("drops")
        if num_files != num_rows:
            violations.append(
                f"{folder}: {num_files} files received, {num_rows} in documents and drops"
            )
    return violations


def validate_clusters(folder: str) -> list[str]:
    """Clusters without exactly one canonical document, and duplicates among those documents."""
    manifest = shards.manifest(folder)
    if not manifest.tables("clusters"):
        return []
    columns = ["text_id", "cluster_id", "is_survivor"]
    clusters = shards.read(folder, "clusters", columns=columns)
    canonical = clusters.filter(clusters["is_survivor"])
    counts = Counter(canonical["cluster_id"].to_pylist())
    violations = [
        f"cluster {name} has {count} survivors" for name, count in counts.items() if count > 1
    ]
    clusters_without_canonical = set(clusters["cluster_id"].to_pylist()) - counts.keys()
    violations += [f"cluster {name} has no survivor" for name in sorted(clusters_without_canonical)]
    texts = Counter(canonical["text_id"].to_pylist())
    violations += [
        f"text {name} survives {count} times" for name, count in texts.items() if count > 1
    ]
    pairs = shards.read(folder, "pairs", columns=["text_id", "other_text_id"]).to_pylist()
    return violations + [
        f"text {pair['text_id']} and its near duplicate {pair['other_text_id']} both survive"
        for pair in pairs
        if pair["text_id"] in texts and pair["other_text_id"] in texts
    ]


def validate_decision_counts(clean_folders: Sequence[str]) -> list[str]:
    """Languages without exactly one decision per document, kept or with a reason."""
    violations = []
    for folder in clean_folders:
        manifest = shards.manifest(folder)
        input_shards = document_shards(
            shards.input_folders(folder, "documents"), language=manifest.partition
        )
        num_documents = sum(input_shard.num_rows for input_shard in input_shards)
        table = shards.read(folder, "decisions", columns=["kept", "reason", "split", "num_tokens"])
        if num_documents != table.num_rows:
            violations.append(
                f"{manifest.partition}: {num_documents} documents, {table.num_rows} decisions"
            )
        for column, is_kept_column in (("reason", False), ("split", True), ("num_tokens", True)):
            is_valid = pc.is_valid(table[column])
            num_contradictions = pc.sum(
                pc.xor(is_valid, table["kept"] if is_kept_column else pc.invert(table["kept"]))
            )
            if num_contradictions.as_py():
                violations.append(
                    f"{manifest.partition}: {column} contradicts kept in {num_contradictions} rows"
                )
    return violations


def validate_contamination(clean_folders: Sequence[str]) -> list[str]:
    """Kept documents with contaminated text that are not exempt."""
    violations = []
    for folder in clean_folders:
        settings = shards.manifest(folder).settings or {}
        exemptions = [
            ContaminationExemption(**entry)
            for entry in settings.get("contamination_exemptions", ())
        ]
        exempt_ids = exempt_document_ids([folder], exemptions)
        problem_by_text = {
            hit["text_id"]: hit["problem_id"]
            for hits in shards.input_folders(folder, "contamination")
            for batch in shards.batches(hits, "hits", columns=["text_id", "problem_id"])
            for hit in batch.to_pylist()
        }
        table = shards.read(folder, "decisions", columns=["document_id", "text_id", "kept"])
        violations += [
            f"document {row['document_id']} is kept and quotes {problem_by_text[row['text_id']]}"
            for row in table.filter(table["kept"]).to_pylist()
            if row["text_id"] in problem_by_text and row["document_id"] not in exempt_ids
        ]
    return violations


def validate_split(clean_folders: Sequence[str]) -> list[str]:
    """Train documents that share a repository, a text or a cluster with a held-out document.

    Memory: the repositories, texts and clusters of the held-out documents.
    """
    columns = ["repository", "text_id", "cluster_id"]
    held_out: dict[str, set[str]] = {column: set() for column in columns}
    for row in _kept(clean_folders, HELD_OUT, columns):
        for column in columns:
            held_out[column].add(row[column])
    return [
        f"the train document {row['document_id']} shares its {column} {row[column]} with a "
        "held-out one"
        for row in _kept(clean_folders, TRAIN, ["document_id", *columns])
        for column in columns
        if row[column] in held_out[column]
    ]


def _kept(folders: Sequence[str], split: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for folder in folders:
        for batch in shards.batches(folder, "decisions", columns=[*columns, "split"], rows=4096):
            chosen = pc.fill_null(pc.equal(batch["split"], split), False)
            yield from batch.filter(chosen).to_pylist()
