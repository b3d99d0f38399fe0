"""Validate curation's tables; each function returns violations as sentences for asset checks.

Rows are compared in partitions of ids: memory is that of the exchange, whatever the corpus's size.
Of each kind of violation the first MAX_EXAMPLES, by their ids, are returned.
"""

from collections.abc import Sequence

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.curation.decontamination.exemptions import exemption_reason
from snow_assets.curation.document_shards import document_shards
from snow_assets.curation.kept import kept_shard
from snow_assets.curation.split import HELD_OUT, TRAIN
from snow_assets.recipe import ContaminationExemption
from snow_assets.runtime.exchange.contract import Exchange, ShardMap
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.runtime.exchange.partitions import by_id, ranges_of_ids
from snow_assets.storage import ids, shards
from snow_assets.storage.shards import FileRecord

MAX_EXAMPLES = 20

FolderShard = tuple[str, FileRecord]
"""An artifact's folder, and the record of a shard in it."""

_CLUSTERED = pa.schema([("cluster_id", pa.string()), ("num_canonical", pa.int64())])
_CANONICAL = pa.schema([("text_id", pa.string()), ("num_canonical", pa.int64())])
_PAIR = pa.schema([("text_id", pa.string()), ("other_text_id", pa.string())])
_IS_OF_KEPT = {"reason": False, "split": True, "num_tokens": True}
"""Column of decisions -> whether the kept or the dropped documents have a value of it."""
_DECISION_COUNTS = pa.schema([(name, pa.int64()) for name in ("num_decisions", *_IS_OF_KEPT)])
_KEPT = pa.schema([("document_id", pa.string()), ("text_id", pa.string())])
_HIT = pa.schema([("text_id", pa.string()), ("problem_id", pa.string())])
_SPLIT_COLUMNS = ("repository", "text_id", "cluster_id")
_KEY = pa.schema(
    [
        ("key", pa.string()),  # a text or cluster, or the hash of a repository's name
        ("kind", pa.int8()),  # index of its column in _SPLIT_COLUMNS
        ("repository", pa.string()),  # null of other kinds
        ("document_id", pa.string()),
    ]
)
_EXAMPLE = pa.schema([("kind", pa.int8()), ("id", pa.string()), ("detail", pa.string())])
_ID_ROW_BYTES = 80  # an id and a number
_PAIR_BYTES = 140
_KEYS_BYTES = 450  # of a document


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


def validate_clusters(folder: str, *, exchange: Exchange = IN_PROCESS) -> list[str]:
    """Clusters without exactly one canonical document, and duplicates among those documents."""
    entries = shards.manifest(folder).tables("clusters")
    if not entries:
        return []
    (verified,) = shards.input_folders(folder, "verified_pairs")
    pair_entries = shards.manifest(verified).tables("pairs")
    num_partitions = exchange.num_partitions(
        entries.total("num_rows") * _ID_ROW_BYTES + pair_entries.total("num_rows") * _PAIR_BYTES
    )
    clusters = exchange.by_key(
        exchange.map_shards(_clusters, entries, schema=_CLUSTERED, folder=folder),
        ranges_of_ids("cluster_id"),
        num_partitions=num_partitions,
    )
    violations = _violations(
        exchange,
        exchange.map_shards(_wrong_clusters, clusters, schema=_EXAMPLE),
        "cluster {id} has {detail} canonical documents",
        "cluster {id} has no canonical document",
    )
    del clusters  # from disk
    texts = exchange.by_key(
        exchange.map_shards(_canonical_texts, entries, schema=_CANONICAL, folder=folder),
        ranges_of_ids("text_id"),
        num_partitions=num_partitions,
    )
    violations += _violations(
        exchange,
        exchange.map_shards(_repeated_texts, texts, schema=_EXAMPLE),
        "text {id} is kept {detail} times",
    )
    pairs = exchange.by_key(
        exchange.map_shards(_pairs, pair_entries, schema=_PAIR, folder=verified),
        ranges_of_ids("text_id"),
        num_partitions=num_partitions,
    )
    pairs = exchange.by_key(
        exchange.map_shards(_kept_pairs, pairs, texts, schema=_PAIR, column="text_id"),
        ranges_of_ids("other_text_id"),
        num_partitions=num_partitions,
    )
    return violations + _violations(
        exchange,
        exchange.map_shards(_both_kept, pairs, texts, schema=_EXAMPLE),
        "text {id} and its near duplicate {detail} are both kept",
    )


def _clusters(entry: FileRecord, *, folder: str) -> pa.Table:
    table = shards.read_shard(folder, entry.name, columns=["cluster_id", "is_canonical"])
    return _num_canonical(pl.DataFrame(table), "cluster_id").to_arrow().cast(_CLUSTERED)


def _canonical_texts(entry: FileRecord, *, folder: str) -> pa.Table:
    table = shards.read_shard(folder, entry.name, columns=["text_id", "is_canonical"])
    canonical = pl.DataFrame(table).filter("is_canonical")
    return _num_canonical(canonical, "text_id").to_arrow().cast(_CANONICAL)


def _num_canonical(documents: pl.DataFrame, column: str) -> pl.DataFrame:
    return documents.group_by(column).agg(num_canonical=pl.col("is_canonical").sum().cast(pl.Int64))


def _wrong_clusters(clustered: pa.Table) -> pa.Table:
    sums = pl.DataFrame(clustered).group_by("cluster_id").agg(pl.sum("num_canonical"))
    wrong = sums.filter(pl.col("num_canonical") != 1)
    return _examples(
        wrong.select(
            kind=pl.col("num_canonical") == 0, id="cluster_id", detail=pl.col("num_canonical")
        )
    )


def _repeated_texts(canonical: pa.Table) -> pa.Table:
    sums = pl.DataFrame(canonical).group_by("text_id").agg(pl.sum("num_canonical"))
    repeated = sums.filter(pl.col("num_canonical") > 1)
    return _examples(repeated.select(kind=0, id="text_id", detail="num_canonical"))


def _pairs(entry: FileRecord, *, folder: str) -> pa.Table:
    return shards.read_shard(folder, entry.name, columns=_PAIR.names).cast(_PAIR)


def _kept_pairs(pairs: pa.Table, texts: pa.Table, *, column: str) -> pa.Table:
    """The pairs of a partition whose text in this column is kept."""
    kept = pl.DataFrame(pairs).join(
        pl.DataFrame(texts), left_on=column, right_on="text_id", how="semi"
    )
    return kept.to_arrow().cast(_PAIR)


def _both_kept(pairs: pa.Table, texts: pa.Table) -> pa.Table:
    kept = pl.DataFrame(_kept_pairs(pairs, texts, column="other_text_id"))
    return _examples(kept.select(kind=0, id="text_id", detail="other_text_id"))


def validate_decision_counts(
    clean_folders: Sequence[str], *, exchange: Exchange = IN_PROCESS
) -> list[str]:
    """Languages without exactly one decision per document, kept or with a reason."""
    violations = []
    for folder in clean_folders:
        manifest = shards.manifest(folder)
        input_shards = document_shards(
            shards.input_folders(folder, "documents"), language=manifest.partition
        )
        num_documents = sum(input_shard.num_rows for input_shard in input_shards)
        counted = exchange.map_shards(
            _decision_counts, manifest.tables("decisions"), schema=_DECISION_COUNTS, folder=folder
        )
        tables = [_DECISION_COUNTS.empty_table(), *exchange.gather(counted)]
        num_decisions, *contradictions = pl.DataFrame(pa.concat_tables(tables)).sum().row(0)
        if num_documents != num_decisions:
            violations.append(
                f"{manifest.partition}: {num_documents} documents, {num_decisions} decisions"
            )
        violations += [
            f"{manifest.partition}: {column} contradicts kept in {num_contradictions} rows"
            for column, num_contradictions in zip(_IS_OF_KEPT, contradictions, strict=True)
            if num_contradictions
        ]
    return violations


def _decision_counts(entry: FileRecord, *, folder: str) -> pa.Table:
    """The number of decisions of a shard, and of those that each column contradicts."""
    table = shards.read_shard(folder, entry.name, columns=["kept", *_IS_OF_KEPT])
    contradictions = [
        pc.sum(
            pc.xor(
                pc.is_valid(table[column]),
                table["kept"] if is_of_kept else pc.invert(table["kept"]),
            ),
            min_count=0,
        )
        for column, is_of_kept in _IS_OF_KEPT.items()
    ]
    values = [table.num_rows, *(number.as_py() for number in contradictions)]
    return pa.table([[value] for value in values], schema=_DECISION_COUNTS)


def validate_contamination(
    clean_folders: Sequence[str], *, exchange: Exchange = IN_PROCESS
) -> list[str]:
    """Kept documents with contaminated text that are not exempt; the first of each language."""
    violations = []
    for folder in clean_folders:
        manifest = shards.manifest(folder)
        decisions = manifest.tables("decisions")
        hit_shards = _shards_of(shards.input_folders(folder, "contamination"), "hits")
        num_rows = decisions.total("num_rows") + sum(entry.num_rows or 0 for _, entry in hit_shards)
        kept, hits = by_id(
            exchange,
            exchange.map_shards(
                _kept_without_exemption,
                decisions,
                schema=_KEPT,
                folder=folder,
                exemptions=[
                    ContaminationExemption(**entry)
                    for entry in (manifest.config or {}).get("contamination_exemptions", ())
                ],
            ),
            exchange.map_shards(_hits, hit_shards, schema=_HIT),
            column="text_id",
            num_bytes=num_rows * _PAIR_BYTES,
        )
        violations += _violations(
            exchange,
            exchange.map_shards(_contaminated, kept, hits, schema=_EXAMPLE),
            "document {id} is kept and quotes {detail}",
        )
    return violations


def _kept_without_exemption(
    entry: FileRecord, *, folder: str, exemptions: Sequence[ContaminationExemption]
) -> pa.Table:
    columns = ["document_id", "text_id", "repository", "path"]
    kept = pl.DataFrame(kept_shard(folder, entry, columns, split=None))
    # A column, since polars 2.1 fails to filter many rows by a constant: null without exemptions.
    kept = kept.with_columns(exemption=exemption_reason(exemptions))
    return kept.filter(pl.col("exemption").is_null()).select(_KEPT.names).to_arrow().cast(_KEPT)


def _hits(hit_shard: FolderShard) -> pa.Table:
    folder, entry = hit_shard
    return shards.read_shard(folder, entry.name, columns=_HIT.names).cast(_HIT)


def _contaminated(kept: pa.Table, hits: pa.Table) -> pa.Table:
    """Of several hits of a text the last is named."""
    last_hits = pl.DataFrame(hits).unique("text_id", keep="last")
    contaminated = pl.DataFrame(kept).join(last_hits, on="text_id")
    return _examples(contaminated.select(kind=0, id="document_id", detail="problem_id"))


def validate_split(clean_folders: Sequence[str], *, exchange: Exchange = IN_PROCESS) -> list[str]:
    """Train documents that share a repository, a text or a cluster with a held-out document."""
    decisions = _shards_of(clean_folders, "decisions")
    num_documents = sum(entry.num_rows or 0 for _, entry in decisions)
    train, held_out = by_id(
        exchange,
        *(
            exchange.map_shards(_split_keys, decisions, schema=_KEY, split=split)
            for split in (TRAIN, HELD_OUT)
        ),
        column="key",
        num_bytes=num_documents * _KEYS_BYTES,
    )
    return _violations(
        exchange,
        exchange.map_shards(_shared, train, held_out, schema=_EXAMPLE),
        *(
            f"the train document {{id}} shares its {column} {{detail}} with a held-out one"
            for column in _SPLIT_COLUMNS
        ),
    )


def _split_keys(clean_shard: FolderShard, *, split: str) -> pa.Table:
    """The repository, text and cluster of each document of a split, as far as it has one."""
    folder, entry = clean_shard
    columns = ["document_id", *_SPLIT_COLUMNS]
    documents = pl.DataFrame(kept_shard(folder, entry, columns, split=split))
    hashes = {name: ids.text_id(name) for name in documents["repository"].unique()}
    keys = [
        documents.select(
            key=pl.col(column).replace_strict(hashes) if column == "repository" else column,
            kind=pl.lit(kind, pl.Int8),
            repository="repository" if column == "repository" else pl.lit(None, pl.String),
            document_id="document_id",
        )
        for kind, column in enumerate(_SPLIT_COLUMNS)
    ]
    return pl.concat(keys).drop_nulls("key").to_arrow().cast(_KEY)


def _shared(train: pa.Table, held_out: pa.Table) -> pa.Table:
    shared = pl.DataFrame(train).join(pl.DataFrame(held_out), on=["key", "kind"], how="semi")
    return _examples(
        shared.select("kind", id="document_id", detail=pl.coalesce("repository", "key"))
    )


def _shards_of(folders: Sequence[str], table: str) -> list[FolderShard]:
    return [
        (folder, entry) for folder in folders for entry in shards.manifest(folder).tables(table)
    ]


def _examples(violations: pl.DataFrame) -> pa.Table:
    """The first violations of each kind, as a table of _EXAMPLE."""
    ordered = violations.sort(_EXAMPLE.names).group_by("kind", maintain_order=True)
    return ordered.head(MAX_EXAMPLES).select(_EXAMPLE.names).to_arrow().cast(_EXAMPLE)


def _violations(exchange: Exchange, examples: ShardMap, *sentences: str) -> list[str]:
    """A sentence for each of the first examples of each kind, with its `id` and `detail`."""
    tables = [_EXAMPLE.empty_table(), *exchange.gather(examples)]
    first = _examples(pl.DataFrame(pa.concat_tables(tables)))
    return [
        sentences[row["kind"]].format(id=row["id"], detail=row["detail"])
        for row in first.to_pylist()
    ]
