"""The clean corpus of a language: decisions with token counts; text is not written again."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import polars as pl
import pyarrow as pa

from snow_assets.curation.decisions import CurationInputs, DocumentSelector
from snow_assets.curation.document_shards import DocumentShard, co_partitioned
from snow_assets.curation.tokenizer.encoding import count_tokens
from snow_assets.curation.tokenizer.tokens import load_tokenizer
from snow_assets.recipe import CurationRecipe
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.runtime.exchange.shard_work import missing_shards, write_shards
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DECISION

_TEXTS_AT_ONCE = 64


def decide(
    language: str,
    inputs: CurationInputs,
    tokenizer_folder: str,
    folder: str,
    *,
    recipe: CurationRecipe,
    earlier: Sequence[str] = (),
    exchange: Exchange = IN_PROCESS,
) -> dict[str, Any]:
    """Write `decisions`, co-partitioned with the language's documents; return the stats.

    `earlier` artifacts were counted by the same tokenizer: their token counts are reused, so that
    after a changed threshold only texts that were never kept before are read. Memory: a shard of
    documents. Existing shards of decisions are not rewritten.
    """
    earlier_shards = [co_partitioned([folder], "decisions") for folder in earlier]
    document_shards = inputs.shards(language)
    missing = missing_shards(folder, "decisions", range(len(document_shards)))
    counted_shards = [
        [
            shards_by_key[document_shards[index].key]
            for shards_by_key in earlier_shards
            if document_shards[index].key in shards_by_key
        ]
        for index in missing
    ]
    write_shards(
        exchange,
        _put_decisions,
        missing,
        [document_shards[index] for index in missing],
        counted_shards,
        unit="shards decided",
        folder=folder,
        selector=DocumentSelector(inputs, recipe, language),
        tokenizer_folder=tokenizer_folder,
    )
    counts: Counter[str] = Counter()
    for record in shards.records(folder, "decisions"):
        counts.update(record.stats["counts"])
    if not document_shards:  # a language without documents still has a table
        shards.put_table(
            folder, "decisions", 0, [], DECISION, stats={"documents": "", "counts": {}}
        )
    return {
        "documents": sum(document_shard.num_rows for document_shard in document_shards),
        **{name: counts.pop(name, 0) for name in _ALWAYS},
        **dict(sorted(counts.items())),
    }


_ALWAYS = (
    "kept",
    "train_documents",
    "held_out_documents",
    "train_tokens",
    "held_out_tokens",
)


def artifacts_with_token_counts(partition: str, tokenizer_digest: str) -> list[str]:
    """The finished artifacts of a partition whose tokens this tokenizer counted."""
    folders = [shards.join(partition, name) for name in shards.names(partition)]
    return [
        folder
        for folder in folders
        if (manifest := shards.sound_manifest(folder)) is not None
        and any(
            (artifact_input.asset, artifact_input.digest) == ("tokenizer", tokenizer_digest)
            for artifact_input in manifest.inputs
        )
    ]


_load_tokenizer = lru_cache(maxsize=1)(load_tokenizer)  # of a process that writes several shards


def _put_decisions(
    index: int,
    document_shard: DocumentShard,
    earlier: Sequence[tuple[str, str]],
    *,
    folder: str,
    selector: DocumentSelector,
    tokenizer_folder: str,
) -> None:
    tokenizer = _load_tokenizer(tokenizer_folder)
    rows = selector.decisions(document_shard).with_columns(num_tokens=pl.lit(None, pl.Int64))
    for shard in earlier:
        rows = _reuse_token_counts(rows, shard)
    uncounted = rows["kept"] & rows["num_tokens"].is_null()
    if uncounted.any():
        texts = document_shard.read(["text"])["text"].filter(uncounted.to_arrow())
        rows = rows.with_columns(
            rows["num_tokens"].scatter(uncounted.arg_true(), _count_tokens(texts, tokenizer))
        )
    stats = {**document_shard.co_partition_stats, "counts": _counts(rows)}
    shards.put_table(folder, "decisions", index, rows.to_arrow(), DECISION, stats=stats)


def _reuse_token_counts(rows: pl.DataFrame, earlier: tuple[str, str]) -> pl.DataFrame:
    """Take token counts from earlier decisions on the same shard, which are row-aligned."""
    table = pl.DataFrame(shards.read_shard(*earlier, columns=["document_id", "num_tokens"]))
    is_same = pl.col("kept") & (pl.col("document_id") == table["document_id"])
    counted = pl.when(is_same).then(table["num_tokens"])
    return rows.with_columns(num_tokens=pl.coalesce(counted, "num_tokens"))


def _count_tokens(texts: pa.ChunkedArray, tokenizer: Any) -> list[int]:
    return [
        count
        for start in range(0, len(texts), _TEXTS_AT_ONCE)
        for count in count_tokens(tokenizer, texts.slice(start, _TEXTS_AT_ONCE).to_pylist())
    ]


def _counts(rows: pl.DataFrame) -> dict[str, int]:
    """Documents and tokens by split, dropped documents by reason; in name order."""
    counts: Counter[str] = Counter()
    by_split = rows.group_by("split", "reason").agg(pl.len(), pl.sum("num_tokens"))
    for split, reason, num_documents, num_tokens in by_split.iter_rows():
        if split is None:
            counts[f"dropped_{reason}"] = num_documents
        else:
            counts["kept"] += num_documents
            counts[f"{split}_documents"] = num_documents
            counts[f"{split}_tokens"] = num_tokens
    return dict(sorted(counts.items()))
