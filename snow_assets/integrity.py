"""Whether an artifact's files are what was written, and clearing away what is not.

A reused artifact is checked for the existence and size of its files; `make verify` compares
digests. What is damaged is cleared away, so that materializing the asset makes it again.
"""

import json
import re
from collections.abc import Collection
from contextlib import suppress
from typing import Any

from snow_assets import shards, storage
from snow_assets.shards import DamagedFileError, FileRecord, Manifest

_DAMAGED_MANIFEST = "manifest.damaged.json"
_INDEX = re.compile(r"-\d{5}\.")
_REPORT, _REQUEST = "report.json", "request.json"


def violations(folder: str, manifest: Manifest) -> dict[str, str]:
    """File -> what is wrong with it: it is missing, has another size, or was marked as damaged.

    One listing of the folder, and a file's bytes only where it was marked.
    """
    sizes = storage.sizes(folder)
    wrong = {}
    for entry in (*manifest.files, *manifest.metadata_files):
        size = sizes.get(entry.name)
        if size is None:
            wrong[entry.name] = "it is missing"
        elif size != entry.num_bytes:
            wrong[entry.name] = f"it has {size:,} bytes, and {entry.num_bytes:,} were written"
        elif f"{shards.DAMAGED}/{entry.name.replace('/', '%')}" in sizes:
            wrong |= digest_violation(folder, entry)
    return wrong


def digest_violation(folder: str, entry: FileRecord) -> dict[str, str]:
    """The file -> what is wrong with it, if its SHA-256 is not its record's; reads the file."""
    try:
        sha256 = shards.file_sha256(shards.join(folder, entry.name), shards.remedy(folder))
    except FileNotFoundError:
        return {entry.name: "it is missing"}
    if sha256 == entry.sha256:
        return {}
    return {entry.name: f"its SHA-256 is {sha256[:12]}, and {entry.sha256[:12]} was written"}


def record_violations(folder: str) -> dict[str, str]:
    """Files of an artifact without a (readable) manifest whose record or content is damaged."""
    wrong = {}
    for name in shards.names(shards.join(folder, shards.RECORDS)):
        file = name.removesuffix(".json").replace("%", "/")
        try:
            entry = shards.record(folder, file)
        except DamagedFileError as error:
            wrong[file] = f"its record is damaged ({error.reason})"
        else:
            wrong |= digest_violation(folder, entry) if entry else {}
    return wrong


def unfinished_violations(folder: str) -> dict[str, str]:
    """Files of an unfinished artifact that its records name and that cannot be gone on with.

    Records that are damaged, and files that are missing or of another size. One listing.
    """
    sizes, wrong = storage.sizes(folder), {}
    for name in shards.names(shards.join(folder, shards.RECORDS)):
        file = name.removesuffix(".json").replace("%", "/")
        try:
            entry = shards.record(folder, file)
        except DamagedFileError as error:
            wrong[file] = f"its record is damaged ({error.reason})"
        else:
            if entry is not None and sizes.get(file) != entry.num_bytes:
                wrong[file] = "it is missing or has another size than its record"
    return wrong


def readable_records(folder: str) -> list[FileRecord]:
    """The records of an unfinished artifact's files, for its size; damaged ones are left out."""
    entries = []
    for name in shards.names(shards.join(folder, shards.RECORDS)):
        with suppress(DamagedFileError):
            entry = shards.record(folder, name.removesuffix(".json").replace("%", "/"))
            entries += [entry] if entry else []
    return entries


def earlier_digest(folder: str) -> str | None:
    """The digest that a damaged artifact had, once it is cleared; None if it cannot be told."""
    url = shards.join(folder, _DAMAGED_MANIFEST)
    with suppress(OSError, ValueError, KeyError, TypeError):
        digest = json.loads(shards.get(url))["digest"]
        return digest if isinstance(digest, str) and len(digest) == 64 else None
    return None


def clear(folder: str, wrong: Collection[str]) -> None:
    """Take an artifact's manifest away, and the files that are wrong, with those of equal index.

    Tables of one artifact are co-partitioned: work decides by one table's shard whether the
    others' are there. Jobs that wrote the files are no longer finished.
    """
    manifest = shards.join(folder, shards.MANIFEST)
    if shards.exists(manifest):
        shards.put(shards.join(folder, _DAMAGED_MANIFEST), shards.get(manifest))
        shards.remove(manifest)
    shards.remove(shards.join(folder, shards.DAMAGED))
    if not wrong:
        return
    groups = {_group(name) for name in wrong}
    for name in shards.names(shards.join(folder, shards.RECORDS)):
        file = name.removesuffix(".json").replace("%", "/")
        if _group(file) in groups:
            _remove(folder, file)
    for file in wrong:
        _remove(folder, file)
    _reopen_jobs(folder)


def clear_all(folder: str) -> None:
    """Take everything away that an artifact's work left, but not its in-progress marker."""
    files = [name.removesuffix(".json") for name in shards.names(f"{folder}/{shards.RECORDS}")]
    clear(folder, [name.replace("%", "/") for name in files])


def _remove(folder: str, file: str) -> None:
    shards.remove(shards.join(folder, shards.record_name(file)))
    shards.remove(shards.join(folder, file))


def _group(file: str) -> str:
    """A shard's index; files without one stand together."""
    match = _INDEX.search(file)
    return match.group() if match else ""


def _reopen_jobs(folder: str) -> None:
    """Set the reports of jobs aside whose output is this artifact: they run again."""
    lake, asset, partition, _ = folder.rstrip("/").rsplit("/", 3)
    root = shards.join(lake, "jobs", asset, partition)
    for digest in shards.names(root):
        for attempt in shards.names(shards.join(root, digest)):
            job = shards.join(root, digest, attempt)
            report = shards.join(job, _REPORT)
            if _output(job) == folder and shards.exists(report):
                shards.put(shards.join(job, "report.damaged.json"), shards.get(report))
                shards.remove(report)


def _output(job: str) -> Any:
    with suppress(OSError, ValueError):
        request = json.loads(shards.get(shards.join(job, _REQUEST)))
        return request.get("output") if isinstance(request, dict) else None
    return None
