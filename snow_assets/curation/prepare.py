"""Received files in; documents with redacted text and signals, and a reason per other file, out.

Text is written here, once. Nothing is dropped for a threshold: only what is no text, or in a
language that the recipe does not train on.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from snow_assets import shards
from snow_assets.corpus.notebooks import NotebookError, as_script
from snow_assets.curation.language import language_of
from snow_assets.curation.redaction import redact
from snow_assets.curation.signals import signals
from snow_assets.documents import DOCUMENT, DROP, RAW_FILE, text_id

DROP_REASONS = (
    "nul_bytes", "invalid_utf8", "empty", "unknown_language", "language_not_in_recipe",
    "invalid_notebook",
)  # fmt: skip

_CARRIED = [name for name in RAW_FILE.names if name in DOCUMENT.names]


@dataclass(frozen=True)
class Refused:
    """Why a received file is no document; `language` where it was known by then."""

    reason: str
    language: str | None = None
    evidence: str | None = None


def prepared(content: bytes, *, path: str, languages: Sequence[str]) -> Mapping[str, Any] | Refused:
    """A received file as the columns of `documents` that its content decides, or why not."""
    if b"\0" in content:
        return Refused("nul_bytes", evidence=f"byte {content.index(0)}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Refused("invalid_utf8", evidence=f"byte {error.start}")
    if not text.strip():
        return Refused("empty")
    language = language_of(path, text)
    if language is None:
        return Refused("unknown_language", evidence=path.rpartition("/")[2][-80:])
    is_notebook = language == "jupyter"
    if is_notebook and language not in languages:
        language = "python"  # what its script is
    if language not in languages:
        return Refused("language_not_in_recipe", language)
    if is_notebook:
        try:
            text = as_script(content)
        except NotebookError as error:
            return Refused("invalid_notebook", language, str(error)[:200])
    redacted = redact(text)
    return {
        "text_id": text_id(redacted.text),
        "language": language,
        "text": redacted.text,
        **signals(redacted.text, path=path, language=language),
        "num_redacted_emails": redacted.num_emails,
        "num_redacted_keys": redacted.num_keys,
        "num_redacted_passwords": redacted.num_passwords,
    }


def prepare(raw_folder: str, folder: str, *, languages: Sequence[str]) -> dict[str, Any]:
    """Write `documents`, a shard per received shard and language, and `drops`; return the facts.

    Memory: a received shard and the documents made of it. Killed and started again, it goes on
    with the first received shard whose `drops` are missing.
    """
    counts: Counter[str] = Counter()
    for index, entry in enumerate(shards.manifest(raw_folder).tables("files")):
        done = shards.record(folder, shards.table_name("drops", index))
        if done is None:
            done = _prepare_shard(raw_folder, entry.name, folder, index, languages)
        counts.update(done.facts["counts"])
    return {
        "files": counts.pop("files"),
        "documents": counts.pop("documents"),
        **dict(sorted(counts.items())),
    }


def _prepare_shard(
    raw_folder: str, name: str, folder: str, index: int, languages: Sequence[str]
) -> shards.FileRecord:
    kept: dict[str, list[dict[str, Any]]] = {language: [] for language in languages}
    drops: list[dict[str, Any]] = []
    received = shards.read_shard(raw_folder, name)
    for batch in received.to_batches(max_chunksize=256):
        for row in batch.to_pylist():
            made = prepared(row["content"], path=row["path"], languages=languages)
            if isinstance(made, Refused):
                drops.append(_drop(row, made))
            else:
                kept[made["language"]].append({name: row[name] for name in _CARRIED} | dict(made))
    for position, (language, rows) in enumerate(kept.items()):
        if rows:
            shards.put_table(
                folder,
                "documents",
                index * len(languages) + position,
                rows,
                DOCUMENT,
                facts={"language": language},
            )
    counts = Counter(f"dropped_{drop['reason']}" for drop in drops)
    counts["files"] = received.num_rows
    counts["documents"] = received.num_rows - len(drops)
    for kind in ("emails", "keys", "passwords"):
        counts[f"redacted_{kind}"] = sum(
            row[f"num_redacted_{kind}"] for rows in kept.values() for row in rows
        )
    # Last, so that its record says that the shard's documents are all there.
    return shards.put_table(folder, "drops", index, drops, DROP, facts={"counts": counts})


def _drop(row: Mapping[str, Any], refused: Refused) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("document_id", "source", "repository", "path")},
        "language": refused.language,
        "num_bytes": len(row["content"]),
        "reason": refused.reason,
        "evidence": refused.evidence,
    }
