"""Integrity of an artifact's files: detect damaged files and remove them.

A reused artifact is checked for the existence and size of its files; `make verify` compares
digests. Damaged files are removed, so that materializing the asset writes them again.
"""

import json
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

from snow_assets.storage import object_store, shards
from snow_assets.storage.shards import DamagedFileError, FileRecord, FileRecords, Manifest

_DAMAGED_MANIFEST = "manifest.damaged.json"
_INDEX = re.compile(r"-\d{5,}\.")
_REPORT, _REQUEST = "report.json", "request.json"


def violations(folder: str, manifest: Manifest) -> dict[str, str]:
    """Validate an artifact's files: name -> violation (missing, another size, marked as damaged).

    Lists the folder once, and reads only files that are marked as damaged.
    """
    sizes = object_store.sizes(folder)
    violation_by_file: dict[str, str] = {}
    for entry in (*manifest.files, *manifest.metadata_files):
        violation_by_file |= _file_violation(folder, entry, sizes)
    return violation_by_file


def _file_violation(folder: str, entry: FileRecord, sizes: Mapping[str, int]) -> dict[str, str]:
    """A file's violation by the folder's listing; the file is read if it is marked as damaged."""
    size = sizes.get(entry.name)
    if size is None:
        return {entry.name: "it is missing"}
    if size != entry.num_bytes:
        return {entry.name: f"it has {size:,} bytes, and {entry.num_bytes:,} were written"}
    if f"{shards.DAMAGED}/{entry.name.replace('/', '%')}" in sizes:
        return digest_violation(folder, entry)
    return {}


def digest_violation(folder: str, entry: FileRecord) -> dict[str, str]:
    """Compare a file's SHA-256 with its record: name -> violation, or empty; reads the file."""
    try:
        sha256 = shards.file_sha256(shards.join(folder, entry.name), shards.remedy(folder))
    except FileNotFoundError:
        return {entry.name: "it is missing"}
    if sha256 == entry.sha256:
        return {}
    return {entry.name: f"its SHA-256 is {sha256[:12]}, and {entry.sha256[:12]} was written"}


def record_violations(folder: str) -> dict[str, str]:
    """Validate the files of an artifact without a readable manifest by their records' digests."""
    violation_by_file: dict[str, str] = {}
    for entry in shards.iterate_records(folder):
        if isinstance(entry, DamagedFileError):
            violation_by_file |= _record_violation(entry)
        else:
            violation_by_file |= digest_violation(folder, entry)
    return violation_by_file


def _record_violation(error: DamagedFileError) -> dict[str, str]:
    file = error.url.rsplit("/", 1)[1].removesuffix(".json").replace("%", "/")
    return {file: f"its record is damaged ({error.reason})"}


def unfinished_violations(folder: str) -> dict[str, str]:
    """Validate the recorded files of an unfinished artifact, before it is resumed.

    Violations: damaged records, and files that are missing, of another size, or marked as damaged.
    A single listing.
    """
    sizes = object_store.sizes(folder)
    violation_by_file: dict[str, str] = {}
    for entry in shards.iterate_records(folder):
        if isinstance(entry, DamagedFileError):
            violation_by_file |= _record_violation(entry)
        else:
            violation_by_file |= _file_violation(folder, entry, sizes)
    return violation_by_file


def readable_records(folder: str) -> FileRecords:
    """The records of an unfinished artifact's files, for its size; damaged ones are skipped."""
    entries = shards.iterate_records(folder)
    return FileRecords.of(entry for entry in entries if isinstance(entry, FileRecord))


def earlier_digest(folder: str) -> str | None:
    """The digest of a damaged artifact that was cleared; None if it is unknown."""
    url = shards.join(folder, _DAMAGED_MANIFEST)
    with suppress(OSError, ValueError, KeyError, TypeError):
        digest = json.loads(shards.get(url))["digest"]
        return digest if isinstance(digest, str) and len(digest) == 64 else None
    return None


def clear(folder: str, damaged_files: Collection[str]) -> None:
    """Remove an artifact's manifest and the damaged files, with all files of the same shard index.

    Tables of an artifact are co-partitioned: a resumed stage checks only one table's shard for
    completion. The reports of jobs that wrote the files are renamed, so that the jobs run again.
    """
    manifest = shards.join(folder, shards.MANIFEST)
    if shards.exists(manifest):
        shards.put(shards.join(folder, _DAMAGED_MANIFEST), shards.get(manifest))
        shards.remove(manifest)
    shards.remove(shards.join(folder, shards.FILE_TABLES))
    shards.remove(shards.join(folder, shards.DAMAGED))
    if not damaged_files:
        return
    groups = {_group(name) for name in damaged_files}
    for name in shards.names(shards.join(folder, shards.RECORDS)):
        file = name.removesuffix(".json").replace("%", "/")
        if _group(file) in groups:
            _remove(folder, file)
    for file in damaged_files:
        _remove(folder, file)
    reopen_jobs(folder.rstrip("/").rsplit("/", 3)[0], {folder})


def clear_all(folder: str) -> None:
    """Remove all files of an artifact except its in-progress marker."""
    files = [name.removesuffix(".json") for name in shards.names(f"{folder}/{shards.RECORDS}")]
    clear(folder, [name.replace("%", "/") for name in files])


def _remove(folder: str, file: str) -> None:
    shards.remove(shards.join(folder, shards.record_name(file)))
    shards.remove(shards.join(folder, file))


def _group(file: str) -> str:
    """The shard index in a file's name; files without an index form a group."""
    match = _INDEX.search(file)
    return match.group() if match else ""


def reopen_jobs(lake: str, folders: Collection[str]) -> None:
    """Rename the reports of jobs whose outputs are these artifacts, so that they run again.

    Reads the requests of all jobs of the lake: those of an experiment's arms stand under its asset.
    """
    jobs = [shards.join(lake, "jobs")]
    for _ in ("asset", "partition", "digest", "attempt"):
        jobs = [shards.join(parent, name) for parent in jobs for name in shards.names(parent)]
    for job in jobs:
        report = shards.join(job, _REPORT)
        if _output(job) in folders and shards.exists(report):
            shards.put(shards.join(job, "report.damaged.json"), shards.get(report))
            shards.remove(report)


def _output(job: str) -> Any:
    with suppress(OSError, ValueError):
        request = json.loads(shards.get(shards.join(job, _REQUEST)))
        return request.get("output") if isinstance(request, dict) else None
    return None
