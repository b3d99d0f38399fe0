"""Exemplars of tables' rows: prompts with responses, responses alone, and chats.

A row that cannot be read, or whose language is unknown or not in the recipe, becomes a drop.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from snow_assets.corpus.locations import list_files
from snow_assets.corpus.raw_shards import DROPS
from snow_assets.corpus.source_units import Refusal, order_by_hash
from snow_assets.corpus.table_rows import Row, rows
from snow_assets.corpus.tables import SUFFIXES, row_limits
from snow_assets.corpus.untrusted import ParserFailure, parse_untrusted, printable
from snow_assets.languages import LANGUAGES
from snow_assets.recipe import CorpusRecipe, RowPositives
from snow_assets.storage.ids import document_id, text_id

TABLE = "exemplars"

_NUM_PARTS = 100
_BATCH_ROWS = 256
_BLOCK_LABEL = re.compile(r"^[ \t]*(?:```+|~~~+)[ \t]*([\w+#.-]+)", re.M)
_ROLE = ("role", "from")
_CONTENT = ("content", "value")
_RESPONDENTS = ("assistant", "gpt", "model")

TableRow = tuple[str, dict[str, Any]]
"""The name of a table, TABLE or DROPS, and a row of it."""


class _RefusedRowError(ValueError):
    """A row that is no exemplar: reason and evidence."""

    def __init__(self, reason: str, evidence: str) -> None:
        super().__init__(evidence)
        self.reason = reason


def row_texts(
    group: RowPositives, *, corpus: CorpusRecipe, languages: Sequence[str]
) -> Iterator[TableRow]:
    """Yield a group's texts, redacted as documents are, and its drops, in the tables' order.

    Rows name no repository: a text's is one of a hundred parts of its group, by hash, so that
    examples can be split by repository. Memory: 256 rows.
    """
    batch: list[dict[str, Any]] = []
    for item in _rows(group, corpus, languages):
        if isinstance(item, Refusal):
            yield DROPS, refused_row(group.name, item)
            continue
        batch.append(item)
        if len(batch) == _BATCH_ROWS:
            yield from redacted(batch)
            batch = []
    yield from redacted(batch)


def drop_row(
    group: str, row: Mapping[str, Any], reason: str, evidence: str | None
) -> dict[str, Any]:
    """A row of DROP for a text with the columns repository, path, language and text."""
    return {
        "document_id": document_id(group, row["repository"], row["path"], text_id(row["text"])),
        "source": group,
        "repository": row["repository"],
        "path": row["path"],
        "language": row["language"],
        "num_bytes": len(row["text"].encode()),
        "reason": reason,
        "evidence": evidence,
    }


def refused_row(group: str, refusal: Refusal) -> dict[str, Any]:
    """A row of DROP for a row that could not be read."""
    return {
        "document_id": document_id(group, refusal.repository, refusal.path, ""),
        "source": group,
        "repository": refusal.repository,
        "path": refusal.path,
        "language": None,
        "num_bytes": refusal.num_bytes,
        "reason": refusal.reason,
        "evidence": None if refusal.evidence is None else printable(refusal.evidence),
    }


def redacted(batch: Sequence[dict[str, Any]]) -> Iterator[TableRow]:
    """The rows with their texts redacted as documents are, and their text ids."""
    # Imported lazily: the Dagster definitions load without compiled kernels.
    from snow_assets.curation.redaction.redact import redact_column

    if batch:
        texts = redact_column(pa.array([row["text"] for row in batch], pa.large_string())).texts
        for row, text in zip(batch, texts.to_pylist(), strict=True):
            yield TABLE, {**row, "text": text, "text_id": text_id(text)}


def _rows(
    group: RowPositives, corpus: CorpusRecipe, languages: Sequence[str]
) -> Iterator[dict[str, Any] | Refusal]:
    limits = row_limits(False, corpus.max_file_bytes, corpus.archives)
    for file in list_files(group.locations, SUFFIXES):
        for row in rows(file, limits):
            yield row if isinstance(row, Refusal) else exemplar(row, group, corpus, languages)


def exemplar(
    row: Row, group: RowPositives, corpus: CorpusRecipe, languages: Sequence[str]
) -> dict[str, Any] | Refusal:
    """The columns of EXEMPLAR without group and text id, or why the row is none."""

    def parse() -> dict[str, Any] | Refusal:
        try:
            prompt, response = _prompt_and_response(row.columns, group)
            text = f"{prompt}\n\n{response}" if prompt else response
            if (num_bytes := len(text.encode())) > corpus.max_file_bytes:
                evidence = f"{num_bytes} bytes, at most {corpus.max_file_bytes}"
                raise _RefusedRowError("too_large", evidence)
            if "\0" in text:
                raise _RefusedRowError("nul_bytes", f"character {text.index(chr(0))}")
            language = _language(row.columns, response, group, languages)
        except _RefusedRowError as error:
            return row.refused(error.reason, str(error))
        part = int(order_by_hash(group.name, text), 16) % _NUM_PARTS
        is_instruction = group.prompt_column is not None or group.messages_column is not None
        return {
            "kind": "instruction" if is_instruction else "file",
            "repository": f"{group.name}/{part:02d}",
            "path": printable(f"{PurePosixPath(row.table).name}, {row.position}"),
            "license": group.license,
            "language": language,
            "text": text,
        }

    parsed = parse_untrusted(parse)
    if isinstance(parsed, ParserFailure):
        return row.refused("unreadable_row", parsed.evidence)
    return parsed


def _prompt_and_response(columns: Mapping[str, Any], group: RowPositives) -> tuple[str, str]:
    """The prompt, empty without one, and the response; of a chat all but its last message is the
    prompt."""
    if group.messages_column is not None:
        return _chat(columns.get(group.messages_column), group.messages_column)
    prompt = "" if group.prompt_column is None else _text(columns, group.prompt_column)
    return prompt, _text(columns, str(group.response_column))


def _column(columns: Mapping[str, Any], name: str) -> Any:
    if name not in columns:
        evidence = f"there is no column {name!r}, only {sorted(map(str, columns))[:20]}"
        raise _RefusedRowError("missing_columns", evidence)
    return columns[name]


def _text(columns: Mapping[str, Any], name: str) -> str:
    value = _column(columns, name)
    if not isinstance(value, str):
        evidence = f"{name} is {type(value).__name__}, not text"
        raise _RefusedRowError("unreadable_row", evidence)
    if not value.strip():
        raise _RefusedRowError("empty", f"{name} is empty")
    return value


def _chat(messages: Any, name: str) -> tuple[str, str]:
    if messages is None:
        raise _RefusedRowError("missing_columns", f"there is no column {name!r}")
    contents: list[tuple[str, str]] = []
    for message in messages:
        role = next(str(message[key]) for key in _ROLE if key in message)
        content = next(key for key in _CONTENT if key in message)
        if role != "system":
            contents.append((role, _text(message, content)))
    if not contents or contents[-1][0] not in _RESPONDENTS:
        evidence = f"the last message is of {contents[-1][0] if contents else 'nobody'}"
        raise _RefusedRowError("no_response", evidence)
    return "\n\n".join(text for _, text in contents[:-1]), contents[-1][1]


def _language(
    columns: Mapping[str, Any], response: str, group: RowPositives, languages: Sequence[str]
) -> str:
    """The stated language, else that of the first labelled code block, else the group's default."""
    stated = None
    if group.language_column is not None:
        stated = _column(columns, group.language_column)
    else:
        match = _BLOCK_LABEL.search(response)
        stated = match[1] if match and match[1].lower() in _languages_by_label() else None
    if stated is None:
        stated = group.default_language
    language = _languages_by_label().get(str(stated).lower())
    if language is None:
        raise _RefusedRowError("unknown_language", f"{stated!r} names no language")
    if language not in languages:
        raise _RefusedRowError("language_not_in_recipe", language)
    return language


@cache
def _languages_by_label() -> dict[str, str]:
    """Names, displayed names and labels of code blocks, in lower case -> language."""
    labels: dict[str, str] = {}
    for name, spec in LANGUAGES.items():
        for label in (name, spec.display_name.lower(), *spec.block_labels.split()):
            labels.setdefault(label, name)
    labels.pop("")
    return labels
