"""Verdicts in; the decisions of a language with token counts, out. Text is not written again."""

from collections import Counter
from typing import Any

from snow_assets import shards
from snow_assets.curation.document_shards import DocumentShard
from snow_assets.curation.tokens import count_tokens, load_tokenizer
from snow_assets.curation.verdicts import Curated, Judge
from snow_assets.documents import DECISION
from snow_assets.recipe import CurationRecipe

_TEXTS_AT_ONCE = 64


def decide(
    language: str,
    curated: Curated,
    tokenizer_folder: str,
    folder: str,
    *,
    recipe: CurationRecipe,
) -> dict[str, Any]:
    """Write `decisions`, a shard beside each shard of the language's documents; return the facts.

    Memory: a shard of documents. A shard of decisions that is there is not made again.
    """
    judge = Judge(curated, recipe)
    tokenizer = load_tokenizer(tokenizer_folder)
    counts: Counter[str] = Counter()
    sources = curated.shards(language)
    for index, source in enumerate(sources):
        done = shards.record(folder, shards.table_name("decisions", index))
        if done is None:
            done = _put_decisions(folder, index, source, judge, tokenizer)
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
    "kept", "train_documents", "held_out_documents", "train_tokens", "held_out_tokens",
)  # fmt: skip


def _put_decisions(
    folder: str, index: int, source: DocumentShard, judge: Judge, tokenizer: Any
) -> shards.FileRecord:
    rows: list[dict[str, Any]] = []
    for document, verdict in judge.verdicts(source):
        decided = {**document, **vars(verdict), "num_tokens": None}
        rows.append({name: decided[name] for name in DECISION.names})
    counts: Counter[str] = Counter()
    start = 0
    for batch in source.read(["text"]).to_batches(max_chunksize=_TEXTS_AT_ONCE):
        chosen = [
            (row, text.as_py())
            for row, text in zip(rows[start : start + batch.num_rows], batch["text"], strict=True)
            if row["kept"]
        ]
        start += batch.num_rows
        lengths = count_tokens(tokenizer, [text for _, text in chosen])
        for (row, _), length in zip(chosen, lengths, strict=True):
            row["num_tokens"] = length
            counts[f"{row['split']}_tokens"] += length
    for row in rows:
        if row["kept"]:
            counts["kept"] += 1
            counts[f"{row['split']}_documents"] += 1
        else:
            counts[f"dropped_{row['reason']}"] += 1
    facts = {**source.beside, "counts": dict(sorted(counts.items()))}
    return shards.put_table(folder, "decisions", index, rows, DECISION, facts=facts)
