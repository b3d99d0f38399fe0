"""Verdicts in; the decisions of a language with token counts, out. Text is not written again."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from snow_assets import shards
from snow_assets.curation.document_shards import DocumentShard, beside
from snow_assets.curation.tokens import count_tokens, load_tokenizer
from snow_assets.curation.verdicts import Curated, Judge
from snow_assets.documents import DECISION
from snow_assets.recipe import CurationRecipe
from snow_assets.remaining import Remaining

_TEXTS_AT_ONCE = 64


def decide(
    language: str,
    curated: Curated,
    tokenizer_folder: str,
    folder: str,
    *,
    recipe: CurationRecipe,
    earlier: Sequence[str] = (),
) -> dict[str, Any]:
    """Write `decisions`, a shard beside each shard of the language's documents; return the facts.

    `earlier` generations were counted by the same tokenizer: their token counts are taken over,
    so that another threshold reads no text but that of documents which were never kept before.
    Memory: a shard of documents. A shard of decisions that is there is not made again.
    """
    judge = Judge(curated, recipe)
    tokenizer = load_tokenizer(tokenizer_folder)
    counted = [beside([folder], "decisions") for folder in earlier]
    counts: Counter[str] = Counter()
    sources = curated.shards(language)
    remaining = Remaining(len(sources), "shards decided")
    for index, source in enumerate(sources):
        done = shards.record(folder, shards.table_name("decisions", index))
        if done is None:
            known = [places[source.key] for places in counted if source.key in places]
            done = _put_decisions(folder, index, source, judge, tokenizer, known)
            remaining.advance()
        else:
            remaining.skip()
        counts.update(done.facts["counts"])
    if not sources:  # a language without documents still has a table
        shards.put_table(
            folder, "decisions", 0, [], DECISION, facts={"documents": "", "counts": {}}
        )
    return {
        "documents": sum(source.num_rows for source in sources),
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


def counted_before(partition: str, tokenizer_digest: str) -> list[str]:
    """The finished generations under a partition's folder whose tokens this tokenizer counted."""
    folders = [shards.join(partition, name) for name in shards.names(partition)]
    return [
        folder
        for folder in folders
        if (manifest := shards.sound_manifest(folder)) is not None
        and any(
            (source.asset, source.digest) == ("tokenizer", tokenizer_digest)
            for source in manifest.inputs
        )
    ]


def _put_decisions(
    folder: str,
    index: int,
    source: DocumentShard,
    judge: Judge,
    tokenizer: Any,
    earlier: Sequence[tuple[str, str]],
) -> shards.FileRecord:
    rows: list[dict[str, Any]] = []
    for document, verdict in judge.verdicts(source):
        decided = {**document, **vars(verdict), "num_tokens": None}
        rows.append({name: decided[name] for name in DECISION.names})
    for place in earlier:
        _take_over(rows, shards.read_shard(*place, columns=["document_id", "num_tokens"]))
    if any(row["kept"] and row["num_tokens"] is None for row in rows):
        _count(rows, source, tokenizer)
    counts: Counter[str] = Counter()
    for row in rows:
        if row["kept"]:
            counts[f"{row['split']}_tokens"] += row["num_tokens"]
            counts["kept"] += 1
            counts[f"{row['split']}_documents"] += 1
        else:
            counts[f"dropped_{row['reason']}"] += 1
    facts = {**source.beside, "counts": dict(sorted(counts.items()))}
    return shards.put_table(folder, "decisions", index, rows, DECISION, facts=facts)


def _take_over(rows: Sequence[dict[str, Any]], earlier: pa.Table) -> None:
    """Earlier decisions about the same shard stand row by row beside these."""
    for row, name, length in zip(
        rows, earlier["document_id"].to_pylist(), earlier["num_tokens"].to_pylist(), strict=True
    ):
        if row["kept"] and row["document_id"] == name and length is not None:
            row["num_tokens"] = length


def _count(rows: Sequence[dict[str, Any]], source: DocumentShard, tokenizer: Any) -> None:
    start = 0
    for batch in source.read(["text"]).to_batches(max_chunksize=_TEXTS_AT_ONCE):
        chosen = [
            (row, text.as_py())
            for row, text in zip(rows[start : start + batch.num_rows], batch["text"], strict=True)
            if row["kept"] and row["num_tokens"] is None
        ]
        start += batch.num_rows
        lengths = count_tokens(tokenizer, [text for _, text in chosen])
        for (row, _), length in zip(chosen, lengths, strict=True):
            row["num_tokens"] = length
