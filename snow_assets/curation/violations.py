"""Validate curation's tables; each function returns violations as sentences for asset checks."""

from collections.abc import Iterator, Sequence

import polars as pl
import pyarrow.compute as pc

from snow_assets.curation.decontamination.exemptions import exemption_reason
from snow_assets.curation.document_shards import document_shards
from snow_assets.curation.kept import kept_rows
from snow_assets.curation.split import HELD_OUT, TRAIN
from snow_assets.recipe import ContaminationExemption
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import CONTAMINATION


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
    columns = ["text_id", "cluster_id", "is_canonical"]
    clusters = pl.DataFrame(shards.read(folder, "clusters", columns=columns))
    canonical = clusters.filter("is_canonical")
    without_canonical = clusters.join(canonical, on="cluster_id", how="anti")["cluster_id"]
    (verified,) = shards.input_folders(folder, "verified_pairs")
    pairs = pl.DataFrame(shards.read(verified, "pairs", columns=["text_id", "other_text_id"]))
    for column in pairs.columns:
        pairs = pairs.join(canonical, left_on=column, right_on="text_id", how="semi")
    return [
        *(
            f"cluster {name} has {count} canonical documents"
            for name, count in _repeated(canonical, "cluster_id")
        ),
        *(
            f"cluster {name} has no canonical document"
            for name in without_canonical.unique().sort()
        ),
        *(f"text {name} is kept {count} times" for name, count in _repeated(canonical, "text_id")),
        *(
            f"text {name} and its near duplicate {other_name} are both kept"
            for name, other_name in pairs.iter_rows()
        ),
    ]


def _repeated(rows: pl.DataFrame, column: str) -> Iterator[tuple[str, int]]:
    """The values of a column that stand in several rows, with the number of rows."""
    counts = rows.group_by(column, maintain_order=True).len()
    yield from counts.filter(pl.col("len") > 1).iter_rows()


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
        config = shards.manifest(folder).config or {}
        exemptions = [
            ContaminationExemption(**entry) for entry in config.get("contamination_exemptions", ())
        ]
        tables = [pl.DataFrame(CONTAMINATION.empty_table().select(["text_id", "problem_id"]))]
        for hits in shards.input_folders(folder, "contamination"):
            for entry in shards.manifest(hits).tables("hits"):
                table = shards.read_shard(hits, entry.name, columns=["text_id", "problem_id"])
                tables.append(pl.DataFrame(table))
        kept = kept_rows(folder, ["document_id", "text_id", "repository", "path"], split=None)
        contaminated = (
            kept.filter(exemption_reason(exemptions).is_null())
            .join(
                pl.concat(tables).unique("text_id", keep="last"),
                on="text_id",
                maintain_order="left",
            )
            .select("document_id", "problem_id")
        )
        violations += [
            f"document {name} is kept and quotes {problem_id}"
            for name, problem_id in contaminated.iter_rows()
        ]
    return violations


def validate_split(clean_folders: Sequence[str]) -> list[str]:
    """Train documents that share a repository, a text or a cluster with a held-out document.

    Memory: the repositories, texts and clusters of the held-out documents and of a language.
    """
    columns = ["repository", "text_id", "cluster_id"]
    held_out = [kept_rows(folder, columns, split=HELD_OUT) for folder in clean_folders]
    violations = []
    for folder in clean_folders:
        train = kept_rows(folder, ["document_id", *columns], split=TRAIN)
        for column in columns:
            shared = train.join(pl.concat(held_out), on=column, how="semi", maintain_order="left")
            violations += [
                f"the train document {name} shares its {column} {value} with a held-out one"
                for name, value in shared.select("document_id", column).iter_rows()
            ]
    return violations
