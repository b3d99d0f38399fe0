"""The clean corpus of a language: decisions with token counts; text is not written again."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from snow_assets.curation.decisions import CurationInputs, DocumentSelector
from snow_assets.curation.document_shards import DocumentShard, co_partitioned
from snow_assets.curation.tokenizer.tokens import count_tokens, load_tokenizer
from snow_assets.recipe import CurationRecipe
from snow_assets.runtime.remaining_time import Remaining
from snow_assets.storage import shards
from snow_assets.storage.schemas import DECISION

_TEXTS_AT_ONCE = 64


def decide(
    language: str,
    inputs: CurationInputs,
    tokenizer_folder: str,
    folder: str,
    *,
    recipe: CurationRecipe,
    earlier: Sequence[str] = (),
) -> dict[str, Any]:
    """Write `decisions`, co-partitioned with the language's documents; return the stats.

    `earlier` artifacts were counted by the same tokenizer: their token counts are reused, so that
    after a changed threshold only texts that were never kept before are read. Memory: a shard of
    documents. Existing shards of decisions are not rewritten.
    """
    selector = DocumentSelector(inputs, recipe)
    tokenizer = load_tokenizer(tokenizer_folder)
    earlier_shards = [co_partitioned([folder], "decisions") for folder in earlier]
    counts: Counter[str] = Counter()
    document_shards = inputs.shards(language)
    remaining = Remaining(len(document_shards), "shards decided")
    for index, document_shard in enumerate(document_shards):
        record = shards.record(folder, shards.table_name("decisions", index))
        if record is None:
            counted_shards = [
                shards_by_key[document_shard.key]
                for shards_by_key in earlier_shards
                if document_shard.key in shards_by_key
            ]
            record = _put_decisions(
                folder, index, document_shard, selector, tokenizer, counted_shards
            )
            remaining.advance()
        else:
            remaining.skip()
        counts.update(record.facts["counts"])
    if not document_shards:  # a language without documents still has a table
        shards.put_table(
            folder, "decisions", 0, [], DECISION, facts={"documents": "", "counts": {}}
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


def _put_decisions(
    folder: str,
    index: int,
    document_shard: DocumentShard,
    selector: DocumentSelector,
    tokenizer: Any,
    earlier: Sequence[tuple[str, str]],
) -> shards.FileRecord:
    rows: list[dict[str, Any]] = []
    for document, decision in selector.decisions(document_shard):
        columns = {**document, **vars(decision), "num_tokens": None}
        rows.append({name: columns[name] for name in DECISION.names})
    for shard in earlier:
        _reuse_token_counts(rows, shards.read_shard(*shard, columns=["document_id", "num_tokens"]))
    if any(row["kept"] and row["num_tokens"] is None for row in rows):
        _count_tokens(rows, document_shard, tokenizer)
    counts: Counter[str] = Counter()
    for row in rows:
        if row["kept"]:
            counts[f"{row['split']}_tokens"] += row["num_tokens"]
            counts["kept"] += 1
            counts[f"{row['split']}_documents"] += 1
        else:
            counts[f"dropped_{row['reason']}"] += 1
    stats = {**document_shard.co_partition_stats, "counts": dict(sorted(counts.items()))}
    return shards.put_table(folder, "decisions", index, rows, DECISION, facts=stats)


def _reuse_token_counts(rows: Sequence[dict[str, Any]], earlier: pa.Table) -> None:
    """Copy token counts from earlier decisions on the same shard, which are row-aligned."""
    for row, document_id, num_tokens in zip(
        rows, earlier["document_id"].to_pylist(), earlier["num_tokens"].to_pylist(), strict=True
    ):
        if row["kept"] and row["document_id"] == document_id and num_tokens is not None:
            row["num_tokens"] = num_tokens


def _count_tokens(
    rows: Sequence[dict[str, Any]], document_shard: DocumentShard, tokenizer: Any
) -> None:
    start = 0
    for batch in document_shard.read(["text"]).to_batches(max_chunksize=_TEXTS_AT_ONCE):
        chosen = [
            (row, text.as_py())
            for row, text in zip(rows[start : start + batch.num_rows], batch["text"], strict=True)
            if row["kept"] and row["num_tokens"] is None
        ]
        start += batch.num_rows
        lengths = count_tokens(tokenizer, [text for _, text in chosen])
        for (row, _), length in zip(chosen, lengths, strict=True):
            row["num_tokens"] = length
