"""Code in tables, Parquet or JSONL: a row per repository (The Stack v3), or a row per file.

The Stack v3's columns (huggingface.co/datasets/HuggingFaceCode/stack-v3-train): `repo_path`,
`commit_id`, and `files`, a list of `content`, `file_path`, `detected_licenses` and others. Flat
rows may use the names of The Stack v1 and v2 as well.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.licenses import Statement, spelled
from snow_assets.corpus.locations import expanded
from snow_assets.corpus.received import Refusal, SourceFile, Unit, Wanted

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz")
_REPOSITORY = ("repo_path", "repo_name", "repository", "max_stars_repo_name")
_REVISION = ("commit_id", "revision_id", "revision", "max_stars_repo_head_hexsha")
_PATH = ("file_path", "path", "max_stars_repo_path")
_LICENSES = ("detected_licenses", "licenses", "license", "max_stars_repo_licenses")
_ROWS = 64  # decoded at a time; a row of The Stack v3 is a whole repository


def snapshot(locations: Sequence[str]) -> dict[str, str]:
    return {url: str(size) for url, size in expanded(locations, SUFFIXES)}


def units(
    locations: Sequence[str], *, inline: bool, languages: Sequence[str], max_file_bytes: int
) -> Iterator[Unit]:
    """A unit per table file, in name order; `inline`: a row is a repository with its files.

    A broken file: ValueError that names it. Memory: one Parquet row group.
    """
    for url, _ in expanded(locations, SUFFIXES):
        yield _unit(url, inline, languages, max_file_bytes)


def _unit(url: str, inline: bool, languages: Sequence[str], max_file_bytes: int) -> Unit:
    def listing() -> Iterator[tuple[str, str]]:
        for row in _flat(url, inline, with_content=False):
            if candidates(_path(row), languages):
                yield str(_first(row, _REPOSITORY)), _path(row)

    def files(is_wanted: Wanted) -> Iterator[SourceFile | Refusal]:
        for row in _flat(url, inline, with_content=True):
            repository, path = str(_first(row, _REPOSITORY)), _path(row)
            if candidates(path, languages) and is_wanted(repository, path):
                yield _received(row, repository, path, max_file_bytes)

    return Unit(name=url, listing=listing, files=files)


def _received(
    row: Mapping[str, Any], repository: str, path: str, max_file_bytes: int
) -> SourceFile | Refusal:
    content = row.get("content")
    if content is None:
        return Refusal(repository=repository, path=path, reason="no_content", evidence="null")
    # A lone surrogate of JSON's \\u escapes becomes bytes that are no UTF-8: judged downstream.
    received = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    if len(received) > max_file_bytes:
        evidence = f"{len(received)} bytes, at most {max_file_bytes}"
        return Refusal(
            repository=repository, path=path, reason="too_large", evidence=evidence,
            num_bytes=len(received),
        )  # fmt: skip
    return SourceFile(
        repository=repository,
        revision=str(_first(row, _REVISION) or "unknown"),
        path=path,
        content=received,
        statement=_statement(row),
    )


def _statement(row: Mapping[str, Any]) -> Statement:
    """All detected licences apply together; one that has no SPDX name makes them unknown."""
    said = _first(row, _LICENSES)
    named = [said] if isinstance(said, str) else list(said or [])
    known = [spelled(name) for name in named]
    if not named or None in known:
        return Statement(None, f"row: licenses: {named}")
    joined = " AND ".join(f"({name})" for name in sorted({str(name) for name in known}))
    return Statement(joined, f"row: licenses: {named}")


def _flat(url: str, inline: bool, *, with_content: bool) -> Iterator[dict[str, Any]]:
    """A row per file, whichever the form."""
    for number, row in enumerate(_rows(url, inline, with_content)):
        _checked(row, url, number, inline)
        if not inline:
            yield row
            continue
        outer = {name: row.get(name) for name in (*_REPOSITORY, *_REVISION, *_LICENSES)}
        for file in row["files"] or []:
            yield {**outer, **{key: value for key, value in file.items() if value is not None}}


def _checked(row: Mapping[str, Any], url: str, number: int, inline: bool) -> None:
    needed = _first(row, _REPOSITORY) is not None and (
        isinstance(row.get("files", ()), list) if inline else _first(row, _PATH) is not None
    )
    if not needed:
        form = f"one of {_REPOSITORY} and `files`" if inline else f"{_REPOSITORY}, {_PATH}"
        raise ValueError(
            f"{url}, row {number} has the columns {sorted(row)} but needs {form}: name the "
            f"columns so, or give the source its other kind (stack_v3 or rows)"
        )


def _rows(url: str, inline: bool, with_content: bool) -> Iterator[dict[str, Any]]:
    if url.lower().endswith(".parquet"):
        yield from _parquet_rows(url, inline, with_content)
        return
    with fsspec.open(url, "rb", compression="infer") as file:
        for number, line in enumerate(file):
            try:
                row = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                raise ValueError(
                    f"{url}, line {number + 1} is no JSON ({error}): fetch the file again or "
                    f"remove it from the source"
                ) from error
            if not isinstance(row, dict):
                raise ValueError(f"{url}, line {number + 1} is no JSON object: {line[:60]!r}")
            yield row


def _parquet_rows(url: str, inline: bool, with_content: bool) -> Iterator[dict[str, Any]]:
    with fsspec.open(url, "rb") as opened:
        try:
            file = pq.ParquetFile(opened)
            columns = None
            if not with_content and not inline:
                columns = [name for name in file.schema_arrow.names if name != "content"]
            for batch in file.iter_batches(batch_size=_ROWS, columns=columns, use_threads=False):
                yield from batch.to_pylist()
        except (pa.ArrowInvalid, OSError) as error:
            raise ValueError(
                f"{url} is no readable Parquet file ({error}): fetch it again or remove it from "
                f"the source"
            ) from error


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _path(row: Mapping[str, Any]) -> str:
    return str(_first(row, _PATH) or "")
