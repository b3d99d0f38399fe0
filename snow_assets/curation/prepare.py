"""Received files in; documents with redacted text and signals, and a reason per other file, out.

Text is written here, once. Nothing is dropped for a threshold: only what is no text, or in a
language that the recipe does not train on. A shard is worked on as columns, not file by file.
"""

import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.corpus.foreign import ParserFailure, parse_foreign
from snow_assets.corpus.notebooks import as_script
from snow_assets.curation.columns import buffers, with_values
from snow_assets.curation.language import languages_of
from snow_assets.documents import DOCUMENT, DROP, RAW_FILE
from snow_assets.remaining import Remaining

DROP_REASONS = (
    "nul_bytes",
    "invalid_utf8",
    "empty",
    "unknown_language",
    "language_not_in_recipe",
    "invalid_notebook",
)

_CARRIED = [name for name in RAW_FILE.names if name in DOCUMENT.names]
_NAMING = ["document_id", "source", "repository", "path"]


def prepare(
    raw_folder: str, folder: str, *, languages: Sequence[str], with_parses: bool
) -> dict[str, Any]:
    """Write `documents`, a shard per received shard and language, and `drops`; return the facts.

    Memory: a received shard and the documents made of it. Killed and started again, it goes on
    with the first received shard whose `drops` are missing.
    """
    counts: Counter[str] = Counter()
    entries = shards.manifest(raw_folder).tables("files")
    remaining = Remaining(len(entries), "shards of documents")
    for index, entry in enumerate(entries):
        done = shards.record(folder, shards.table_name("drops", index))
        if done is None:
            received = shards.read_shard(raw_folder, entry.name)
            made = prepared(received, languages=languages, with_parses=with_parses)
            done = _put(folder, index, made, languages)
            remaining.advance()
        else:
            remaining.skip()
        counts.update(done.facts["counts"])
    return {
        "files": counts.pop("files"),
        "documents": counts.pop("documents"),
        **dict(sorted(counts.items())),
    }


@dataclass(frozen=True)
class Prepared:
    """What a shard of received files becomes: the table `documents`, and the table `drops`."""

    documents: pa.Table
    drops: pa.Table


def prepared(received: pa.Table, *, languages: Sequence[str], with_parses: bool) -> Prepared:
    """Received files (RAW_FILE) as documents, whose order is theirs, and drops."""
    # Compiled code is heavy: not with the definitions.
    from snow_assets.curation.redaction import redact_column
    from snow_assets.curation.signals import signals

    received = received.combine_chunks()
    admitted = _admit(received, languages)
    files = received.select(_CARRIED).take(pa.array(admitted.rows, pa.int64()))
    redacted = redact_column(admitted.texts)
    columns = {
        **{name: files[name] for name in _CARRIED},
        "text_id": _text_ids(redacted.texts),
        "language": pa.array(admitted.languages, pa.string()),
        "text": redacted.texts,
        **signals(
            redacted.texts,
            paths=_one(files["path"]),
            languages=admitted.languages,
            with_parses=with_parses,
        ),
        "num_redacted_emails": redacted.num_emails,
        "num_redacted_keys": redacted.num_keys,
        "num_redacted_passwords": redacted.num_passwords,
    }
    documents = pa.table([columns[name] for name in DOCUMENT.names], schema=DOCUMENT)
    return Prepared(documents, _drops(received, admitted))


def _one(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


@dataclass
class _Admitted:
    """Rows that are documents, their texts and languages; the others with reason and evidence."""

    rows: list[int] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    texts: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    refused: dict[int, tuple[str, str | None, str | None]] = field(default_factory=dict)

    def refuse(
        self, row: int, reason: str, *, language: str | None = None, evidence: str | None = None
    ) -> None:
        self.refused[row] = (reason, language, evidence)


def _admit(received: pa.Table, spoken: Sequence[str]) -> _Admitted:
    # Compiled code is heavy: not with the definitions.
    from snow_assets.curation import received_texts as kinds

    made = _Admitted()
    contents, paths = _one(received["content"]), received["path"].to_pylist()
    states = kinds.states(contents)
    for row in np.flatnonzero(states != kinds.TEXT).tolist():
        made.refused[row] = _no_text(contents[row].as_py())
    rows = np.flatnonzero(states == kinds.TEXT)
    texts = kinds.as_texts(contents, rows)
    scripts: dict[int, str] = {}
    chosen: list[int] = []
    found = languages_of([paths[row] for row in rows.tolist()], texts)
    for place, (row, language) in enumerate(zip(rows.tolist(), found, strict=True)):
        is_notebook = language == "jupyter"
        if is_notebook and language not in spoken:
            language = "python"  # what its script is
        if language is None:
            made.refuse(row, "unknown_language", evidence=paths[row].rpartition("/")[2][-80:])
            continue
        if language not in spoken:
            made.refuse(row, "language_not_in_recipe", language=language)
            continue
        if is_notebook:
            notebook = contents[row].as_py()
            script = parse_foreign(partial(as_script, notebook))
            if isinstance(script, ParserFailure):
                evidence = script.evidence
                made.refuse(row, "invalid_notebook", language=language, evidence=evidence)
                continue
            scripts[len(chosen)] = script
        chosen.append(place)
        made.rows.append(row)
        made.languages.append(language)
    made.texts = texts.take(pa.array(chosen, pa.int64())) if len(chosen) < len(texts) else texts
    made.texts = with_values(made.texts, scripts)
    return made


def _no_text(content: bytes) -> tuple[str, str | None, str | None]:
    """Why bytes are no text."""
    if b"\0" in content:
        return "nul_bytes", None, f"byte {content.index(0)}"
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return "invalid_utf8", None, f"byte {error.start}"
    return "empty", None, None


def _text_ids(texts: pa.Array) -> pa.Array:
    """`documents.text_id` of each text, without making strings of them."""
    data, offsets = buffers(texts)
    view, places = data.data, offsets.tolist()
    return pa.array(
        [hashlib.sha256(view[begin:end]).hexdigest() for begin, end in itertools.pairwise(places)],
        pa.string(),
    )


def _drops(received: pa.Table, admitted: _Admitted) -> pa.Table:
    rows = sorted(admitted.refused)
    told = [admitted.refused[row] for row in rows]
    named = received.select(_NAMING).take(pa.array(rows, pa.int64()))
    sizes = pc.binary_length(received["content"]).cast(pa.int64()).take(pa.array(rows, pa.int64()))
    reasons, languages, evidence = zip(*told, strict=True) if told else ((), (), ())
    columns = {
        **{name: named[name] for name in _NAMING},
        "language": pa.array(languages, pa.string()),
        "num_bytes": sizes,
        "reason": pa.array(reasons, pa.string()),
        "evidence": pa.array(evidence, pa.string()),
    }
    return pa.table([columns[name] for name in DROP.names], schema=DROP)


def _put(folder: str, index: int, made: Prepared, languages: Sequence[str]) -> shards.FileRecord:
    for position, language in enumerate(languages):
        documents = made.documents.filter(pc.equal(made.documents["language"], language))
        if documents.num_rows:
            shards.put_table(
                folder,
                "documents",
                index * len(languages) + position,
                documents,
                DOCUMENT,
                facts={"language": language},
            )
    counts = Counter(f"dropped_{reason}" for reason in made.drops["reason"].to_pylist())
    counts["files"] = made.documents.num_rows + made.drops.num_rows
    counts["documents"] = made.documents.num_rows
    for kind in ("emails", "keys", "passwords"):
        counts[f"redacted_{kind}"] = pc.sum(
            made.documents[f"num_redacted_{kind}"], min_count=0
        ).as_py()
    # Last, so that its record says that the shard's documents are all there.
    return shards.put_table(folder, "drops", index, made.drops, DROP, facts={"counts": counts})
