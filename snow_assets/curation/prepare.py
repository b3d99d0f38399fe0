"""Convert raw files to documents with redacted text and signals; record why the others drop out.

This is the only stage that writes text. No threshold is applied: a file drops out only if it is not
text or not in a language of the recipe. A shard is processed as columns, not file by file.
"""

import codecs
import hashlib
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.corpus.notebooks import as_script
from snow_assets.corpus.untrusted import ParserFailure, parse_untrusted
from snow_assets.curation.columns import buffers, replace_values
from snow_assets.curation.language import languages_of
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.runtime.exchange.shard_work import missing_shards, write_shards
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import DROP, RAW_FILE
from snow_assets.storage.schemas.curation import DOCUMENT

_RAW_COLUMNS = [name for name in RAW_FILE.names if name in DOCUMENT.names]
_ID_COLUMNS = ["document_id", "source", "repository", "path"]


def prepare(
    raw_folder: str,
    folder: str,
    *,
    languages: Sequence[str],
    with_parses: bool,
    exchange: Exchange = IN_PROCESS,
) -> dict[str, Any]:
    """Write `documents`, a shard per raw shard and language, and `drops`; return the stats.

    Memory: a raw shard and its documents. After a kill only raw shards without `drops` are
    converted.
    """
    names = [entry.name for entry in shards.manifest(raw_folder).tables("files")]
    missing = missing_shards(folder, "drops", range(len(names)))
    write_shards(
        exchange,
        _convert_shard,
        missing,
        [names[index] for index in missing],
        unit="shards of documents",
        raw_folder=raw_folder,
        folder=folder,
        languages=languages,
        with_parses=with_parses,
    )
    counts: Counter[str] = Counter()
    for record in shards.records(folder, "drops"):
        counts.update(record.stats["counts"])
    return {
        "files": counts.pop("files"),
        "documents": counts.pop("documents"),
        **dict(sorted(counts.items())),
    }


def _convert_shard(
    index: int,
    name: str,
    *,
    raw_folder: str,
    folder: str,
    languages: Sequence[str],
    with_parses: bool,
) -> None:
    raw_files = shards.read_shard(raw_folder, name)
    output = prepare_shard(raw_files, languages=languages, with_parses=with_parses)
    _put_shard(folder, index, output, languages)


@dataclass(frozen=True)
class PreparedShard:
    """The tables `documents` and `drops` of a shard of raw files."""

    documents: pa.Table
    drops: pa.Table


def prepare_shard(
    raw_files: pa.Table, *, languages: Sequence[str], with_parses: bool
) -> PreparedShard:
    """Convert raw files (RAW_FILE) to documents, in their order, and drops."""
    # Imported lazily: the Dagster definitions load without compiled kernels.
    from snow_assets.curation.filters.signals import signals
    from snow_assets.curation.redaction.redact import redact_column

    raw_files = raw_files.combine_chunks()
    selected = _select_texts(raw_files, languages)
    files = raw_files.select(_RAW_COLUMNS).take(pa.array(selected.rows, pa.int64()))
    redacted = redact_column(selected.texts)
    columns = {
        **{name: files[name] for name in _RAW_COLUMNS},
        "text_id": _text_ids(redacted.texts),
        "language": pa.array(selected.languages, pa.string()),
        "text": redacted.texts,
        **signals(
            redacted.texts,
            paths=_single_array(files["path"]),
            languages=selected.languages,
            with_parses=with_parses,
        ),
        "num_redacted_emails": redacted.num_emails,
        "num_redacted_keys": redacted.num_keys,
        "num_redacted_passwords": redacted.num_passwords,
    }
    documents = pa.table([columns[name] for name in DOCUMENT.names], schema=DOCUMENT)
    return PreparedShard(documents, _drops(raw_files, selected))


def _single_array(column: pa.ChunkedArray) -> pa.Array:
    """The chunks of a column as a single array."""
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


@dataclass
class _Selection:
    """Rows that become documents, with text and language; dropped rows with reason and evidence."""

    rows: list[int] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    texts: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    dropped: dict[int, tuple[str, str | None, str | None]] = field(default_factory=dict)

    def drop(
        self, row: int, reason: str, *, language: str | None = None, evidence: str | None = None
    ) -> None:
        self.dropped[row] = (reason, language, evidence)


def _select_texts(raw_files: pa.Table, recipe_languages: Sequence[str]) -> _Selection:
    selected = _Selection()
    contents, paths = _single_array(raw_files["content"]), raw_files["path"].to_pylist()
    rows: list[int] = []
    without_mark: dict[int, str] = {}  # texts that begin with a byte order mark
    for row, value in enumerate(contents):
        content = value.as_py()
        if drop := _no_text(content):
            selected.drop(row, drop[0], evidence=drop[1])
            continue
        if content.startswith(codecs.BOM_UTF8):
            without_mark[len(rows)] = content.decode("utf-8-sig")
        rows.append(row)
    texts = contents.take(pa.array(rows, pa.int64())).cast(pa.string())
    texts = replace_values(texts, without_mark)
    scripts: dict[int, str] = {}
    chosen: list[int] = []
    text_languages = languages_of([paths[row] for row in rows], texts)
    for index, (row, language) in enumerate(zip(rows, text_languages, strict=True)):
        is_notebook = language == "jupyter"
        if is_notebook and language not in recipe_languages:
            language = "python"  # the language of its script
        if language is None:
            selected.drop(row, "unknown_language", evidence=paths[row].rpartition("/")[2][-80:])
            continue
        if language not in recipe_languages:
            selected.drop(row, "language_not_in_recipe", language=language)
            continue
        if is_notebook:
            notebook = contents[row].as_py()
            script = parse_untrusted(partial(as_script, notebook))
            if isinstance(script, ParserFailure):
                evidence = script.evidence
                selected.drop(row, "invalid_notebook", language=language, evidence=evidence)
                continue
            scripts[len(chosen)] = script
        chosen.append(index)
        selected.rows.append(row)
        selected.languages.append(language)
    selected.texts = texts.take(pa.array(chosen, pa.int64())) if len(chosen) < len(texts) else texts
    selected.texts = replace_values(selected.texts, scripts)
    return selected


def _no_text(content: bytes) -> tuple[str, str | None] | None:
    """The reason and evidence why bytes are not text; None if they are."""
    if b"\0" in content:
        return "nul_bytes", f"byte {content.index(0)}"
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return "invalid_utf8", f"byte {error.start}"
    return ("empty", None) if not text or text.isspace() else None


def _text_ids(texts: pa.Array) -> pa.Array:
    """`documents.text_id` of each text, hashed from the buffer without Python strings."""
    data, offsets = buffers(texts)
    view, bounds = data.data, offsets.tolist()
    return pa.array(
        [hashlib.sha256(view[start:end]).hexdigest() for start, end in itertools.pairwise(bounds)],
        pa.string(),
    )


def _drops(raw_files: pa.Table, selected: _Selection) -> pa.Table:
    rows = sorted(selected.dropped)
    reasons_by_row = [selected.dropped[row] for row in rows]
    id_columns = raw_files.select(_ID_COLUMNS).take(pa.array(rows, pa.int64()))
    sizes = pc.binary_length(raw_files["content"]).cast(pa.int64()).take(pa.array(rows, pa.int64()))
    reasons, languages, evidence = (
        zip(*reasons_by_row, strict=True) if reasons_by_row else ((), (), ())
    )
    columns = {
        **{name: id_columns[name] for name in _ID_COLUMNS},
        "language": pa.array(languages, pa.string()),
        "num_bytes": sizes,
        "reason": pa.array(reasons, pa.string()),
        "evidence": pa.array(evidence, pa.string()),
    }
    return pa.table([columns[name] for name in DROP.names], schema=DROP)


def _put_shard(folder: str, index: int, output: PreparedShard, languages: Sequence[str]) -> None:
    for position, language in enumerate(languages):
        documents = output.documents.filter(pc.equal(output.documents["language"], language))
        if documents.num_rows:
            shards.put_table(
                folder,
                "documents",
                index * len(languages) + position,
                documents,
                DOCUMENT,
                stats={"language": language},
            )
    counts = Counter(f"dropped_{reason}" for reason in output.drops["reason"].to_pylist())
    counts["files"] = output.documents.num_rows + output.drops.num_rows
    counts["documents"] = output.documents.num_rows
    for kind in ("emails", "keys", "passwords"):
        counts[f"redacted_{kind}"] = pc.sum(
            output.documents[f"num_redacted_{kind}"], min_count=0
        ).as_py()
    # Last: its record marks the shard's documents as complete.
    shards.put_table(folder, "drops", index, output.drops, DROP, stats={"counts": counts})
