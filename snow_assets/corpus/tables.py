"""Source tables, Parquet or JSONL: a row per repository (The Stack v3), or a row per file.

The Stack v3's columns (huggingface.co/datasets/HuggingFaceCode/stack-v3-train): `repo_path`,
`commit_id`, and `files`, a list of `content`, `file_path`, `detected_licenses` and others. Flat
rows may use the names of The Stack v1 and v2 as well. An unreadable row or file becomes a refusal
with its position (`table_rows` reads the tables).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.license_statements import Statement
from snow_assets.corpus.licenses import normalize_license_name
from snow_assets.corpus.locations import StoredFile, list_files
from snow_assets.corpus.locations import snapshot as snapshot_of_files
from snow_assets.corpus.source_units import FileFilter, Refusal, SourceFile, Unit
from snow_assets.corpus.table_rows import Row, RowLimits, rows
from snow_assets.corpus.untrusted import ParserFailure, parse_untrusted
from snow_assets.recipe import ArchiveLimits
from snow_assets.storage.urls import redact_urls

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz")
_REPOSITORY = ("repo_path", "repo_name", "repository", "max_stars_repo_name")
_REVISION = ("commit_id", "revision_id", "revision", "max_stars_repo_head_hexsha")
_PATH = ("file_path", "path", "max_stars_repo_path")
_LICENSES = ("detected_licenses", "licenses", "license", "max_stars_repo_licenses")
_MAX_INLINE_ROW_BYTES = 1 << 29  # a repository with its files, as JSON
_JSON_ESCAPE = 6  # `\u00e9`: the maximum number of bytes of a byte in JSON
_OTHER_COLUMNS_BYTES = 1 << 20


def snapshot(locations: Sequence[str]) -> dict[str, str]:
    return snapshot_of_files(locations, SUFFIXES)


def repositories(
    locations: Sequence[str], *, inline: bool, max_file_bytes: int, limits: ArchiveLimits
) -> Iterator[str]:
    """Yield the repository of each row, in order, without decoding Parquet's file contents."""
    limits_of_rows = row_limits(inline, max_file_bytes, limits)
    last = None
    for file in list_files(locations, SUFFIXES):
        for item in rows(file, limits_of_rows, left_out=("content", "files")):
            repository = None if isinstance(item, Refusal) else _first(item.columns, _REPOSITORY)
            if isinstance(repository, str) and repository != last:
                last = repository
                yield repository


def row_limits(inline: bool, max_file_bytes: int, limits: ArchiveLimits) -> RowLimits:
    """Of rows that hold a repository with its files (`inline`), or a file."""
    row_bytes = (
        min(limits.max_bytes, _MAX_INLINE_ROW_BYTES)
        if inline
        else _JSON_ESCAPE * max_file_bytes + _OTHER_COLUMNS_BYTES
    )
    return RowLimits(
        max_row_bytes=row_bytes, max_bytes=limits.max_bytes, max_ratio=limits.max_ratio
    )


def units(
    locations: Sequence[str],
    *,
    inline: bool,
    languages: Sequence[str],
    max_file_bytes: int,
    limits: ArchiveLimits,
) -> Iterator[Unit]:
    """Yield a unit per table file, in name order; `inline`: a row is a repository with its files.

    Memory: some rows, each at most 512 MiB (inline), or about 6 times `max_file_bytes`.
    """
    limits_of_rows = row_limits(inline, max_file_bytes, limits)
    for file in list_files(locations, SUFFIXES):
        yield _unit(file, inline, languages, max_file_bytes, limits_of_rows)


def _unit(
    file: StoredFile, inline: bool, languages: Sequence[str], max_file_bytes: int, limits: RowLimits
) -> Unit:
    def listing() -> Iterator[tuple[str, str]]:
        for item in _files(file, inline, limits, with_content=False):
            if isinstance(item, _FileRow) and candidates(item.path, languages):
                yield item.repository, item.path

    def files(is_selected: FileFilter) -> Iterator[SourceFile | Refusal]:
        for item in _files(file, inline, limits, with_content=True):
            if isinstance(item, Refusal):
                yield item
            elif candidates(item.path, languages) and is_selected(item.repository, item.path):
                received = parse_untrusted(lambda item=item: item.received(max_file_bytes))  # type: ignore[misc]
                if isinstance(received, ParserFailure):
                    yield item.refused("unreadable_row", received.evidence)
                else:
                    yield received

    return Unit(name=file.url, num_bytes=file.num_bytes, listing=listing, files=files)


class _FileRow:
    """A file's columns, for both forms of tables."""

    def __init__(self, repository: str, path: str, columns: Mapping[str, Any]) -> None:
        self.repository, self.path, self._columns = repository, path, columns

    def refused(self, reason: str, evidence: str, num_bytes: int = 0) -> Refusal:
        return Refusal(
            repository=self.repository,
            path=self.path,
            reason=reason,
            evidence=evidence,
            num_bytes=num_bytes,
        )

    def received(self, max_file_bytes: int) -> SourceFile | Refusal:
        """The file, or its refusal; columns of unexpected types may raise any exception."""
        content = self._columns.get("content")
        if content is None:
            return self.refused("no_content", "null")
        if not isinstance(content, (bytes, str)):
            return self.refused("no_content", f"content is {type(content).__name__}, not text")
        # A lone surrogate of JSON's \\u escapes becomes invalid UTF-8, which a later stage drops.
        received = (
            content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
        )
        if len(received) > max_file_bytes:
            evidence = f"{len(received)} bytes, at most {max_file_bytes}"
            return self.refused("too_large", evidence, len(received))
        return SourceFile(
            repository=self.repository,
            revision=str(_first(self._columns, _REVISION) or "unknown"),
            path=self.path,
            content=received,
            statement=_statement(self._columns),
        )


def _statement(row: Mapping[str, Any]) -> Statement:
    """The conjunction of all detected licences; unknown if one has no SPDX name."""
    stated = _first(row, _LICENSES)
    named = [stated] if isinstance(stated, str) else list(stated or [])
    identifiers = [normalize_license_name(name) for name in named]
    if not named or None in identifiers:
        return Statement(None, f"row: licenses: {named}")
    joined = " AND ".join(f"({name})" for name in sorted({str(name) for name in identifiers}))
    return Statement(joined, f"row: licenses: {named}")


def _files(
    file: StoredFile, inline: bool, limits: RowLimits, *, with_content: bool
) -> Iterator[_FileRow | Refusal]:
    """Yield a row per file of the table, or a refusal if it cannot be read."""
    left_out = () if with_content or inline else ("content",)
    for item in rows(file, limits, left_out=left_out):
        if isinstance(item, Refusal):
            yield item
        elif inline:
            yield from _inline_files(item)
        else:
            yield _file_row(item, item.columns, {})


def _inline_files(row: Row) -> Iterator[_FileRow | Refusal]:
    """Yield the files of a row that holds a repository."""
    files = row.columns.get("files") if isinstance(row.columns.get("files"), list) else None
    if files is None or _first(row.columns, _REPOSITORY) is None:
        needed = f"one of {_REPOSITORY} and `files`, a list"
        yield row.refused("missing_columns", _missing_columns_message(row.columns, needed, "rows"))
        return
    outer = {name: row.columns.get(name) for name in (*_REPOSITORY, *_REVISION, *_LICENSES)}
    for number, file in enumerate(files):
        if isinstance(file, dict):
            own = _not_null(file)
            # The file's licences take precedence over its repository's.
            nearest = dict.fromkeys(_LICENSES) if any(name in own for name in _LICENSES) else {}
            yield _file_row(row, {**outer, **nearest, **own}, {"file": number})
        else:
            evidence = f"file {number} is {type(file).__name__}, not an object"
            yield row.refused("unreadable_row", evidence, suffix=f", file {number}")


def _file_row(
    row: Row, columns: Mapping[str, Any], number: Mapping[str, int]
) -> _FileRow | Refusal:
    suffix = "".join(f", {name} {count}" for name, count in number.items())
    repository, path = _first(columns, _REPOSITORY), _first(columns, _PATH)
    if repository in (None, "") or path is None:
        evidence = _missing_columns_message(
            columns, f"one of {_REPOSITORY} and one of {_PATH}", "stack_v3"
        )
        return row.refused("missing_columns", evidence, suffix=suffix)
    if not isinstance(repository, str) or not isinstance(path, str):
        kinds = f"{type(repository).__name__} and {type(path).__name__}"
        evidence = f"repository and path are {kinds}, not text"
        return row.refused("unreadable_row", evidence, suffix=suffix)
    return _FileRow(redact_urls(repository), path, columns)


def _missing_columns_message(columns: Mapping[str, Any], needed: str, other_kind: str) -> str:
    return (
        f"needs {needed}; has {sorted(map(str, columns))[:20]}: name the columns so, or give the "
        f"source the kind {other_kind!r}"
    )


def _not_null(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in columns.items() if value is not None}


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)
