"""Published tables in an object store: immutable versions, a pointer put last, a cache by digest.

A folder holds `versions/TIME-DIGEST.duckdb` and `current.json`, which names a version with its
digest. A version never changes and an object's put is atomic, so a reader gets a complete version
or none; if the version was removed meanwhile, the pointer names a newer one by then.
"""

import hashlib
import json
import math
import os
import posixpath
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snow_assets.storage.object_store import file_system
from snow_resources.warehouse import WarehouseError

NUM_KEPT_VERSIONS = 3
"""Number of versions kept, the current one included; a reader's cache keeps as many."""

_POINTER = "current.json"
_TABLES = "tables"
_VERSIONS = "versions"
_UNFINISHED = ".part"
_ABANDONED_SECONDS = 86_400.0


@dataclass(frozen=True, kw_only=True)
class Version:
    """A published version, as the pointer names it. `inputs_digest`: of the tables' inputs."""

    name: str
    sha256: str
    num_bytes: int
    inputs_digest: str


def folder_of(lake: str, recipe: str) -> str:
    """The folder of a recipe's published tables in a lake."""
    return posixpath.join(lake, _TABLES, recipe)


def only_recipe(lake: str) -> str:
    """The only recipe with published tables in a lake; WarehouseError if none or several."""
    with _store_errors(lake):
        system, root = file_system(posixpath.join(lake, _TABLES))
        folders = system.ls(root, detail=False) if system.isdir(root) else []
    names = sorted(posixpath.basename(path.rstrip("/")) for path in folders)
    if not names:
        raise WarehouseError(
            f"no tables were published to {lake}: materialize them with SNOW_LAKE={lake}"
        )
    if len(names) > 1:
        raise WarehouseError(
            f"{lake} holds tables of {', '.join(names)}: set RECIPE to one of them"
        )
    return str(names[0])


def put_version(file: Path, folder: str, *, inputs_digest: str) -> Version:
    """Upload a closed database as the current version of a folder (URL); then remove the oldest.

    Tables of the same inputs are not uploaded again. The file must not change meanwhile.
    """
    system, root = file_system(folder)
    former = _pointer(system, root)
    if (
        former
        and former.inputs_digest == inputs_digest
        and system.exists(_version_path(root, former.name))
    ):
        return former
    sha256 = _sha256(file)
    version = Version(
        name=f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{sha256[:16]}.duckdb",
        sha256=sha256,
        num_bytes=file.stat().st_size,
        inputs_digest=inputs_digest,
    )
    system.put_file(str(file), _version_path(root, version.name))
    system.pipe_file(posixpath.join(root, _POINTER), json.dumps(asdict(version)).encode())
    listed = system.ls(posixpath.join(root, _VERSIONS), detail=False)
    names = sorted(posixpath.basename(path) for path in listed)
    for name in names[:-NUM_KEPT_VERSIONS]:
        if name != version.name:
            system.rm_file(_version_path(root, name))
    return version


def fetch_current(folder: str, cache: Path) -> Path:
    """Download a folder's current version to the cache, unless cached, and verify its digest.

    Raises WarehouseError if nothing was published, if the version that the pointer names is
    missing, if its digest differs, or if the store does not answer. Memory: a few megabytes.
    """
    with _store_errors(folder):
        system, root = file_system(folder)
        version = _pointer(system, root)
        while version:
            copy = cache / f"{version.sha256}.duckdb"
            if _touch_if_exists(copy):
                return copy
            try:
                _download(system, _version_path(root, version.name), copy, version)
            except FileNotFoundError:
                newer = _pointer(system, root)
                if newer == version:
                    raise WarehouseError(
                        f"{folder}/{_POINTER} names {version.name}, which is missing: "
                        "materialize the tables again, that publishes another version"
                    ) from None
                version = newer
            else:
                _prune_cache(cache)
                return copy
    raise WarehouseError(
        f"no tables were published at {folder} ({_POINTER} is missing): "
        "materialize the tables of a recipe whose lake this is"
    )


def _touch_if_exists(copy: Path) -> bool:
    try:
        os.utime(copy)  # last used now: the newest copies are kept
    except FileNotFoundError:
        return False
    return True


def _download(system: Any, path: str, copy: Path, version: Version) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=copy.parent, suffix=_UNFINISHED)
    os.close(descriptor)
    unfinished = Path(name)
    try:
        system.get_file(path, name)
        sha256 = _sha256(unfinished)
        if sha256 != version.sha256:
            raise WarehouseError(
                f"{version.name} has the digest {sha256}, but the pointer has {version.sha256}: "
                "the object was damaged or replaced; remove it and materialize the tables again"
            )
        unfinished.replace(copy)
    finally:
        unfinished.unlink(missing_ok=True)


def _prune_cache(cache: Path) -> None:
    """Remove copies beyond the newest, and unfinished downloads of killed readers."""
    ages = {path: _age_seconds(path) for path in cache.iterdir()}
    copies = sorted((path for path in ages if path.suffix == ".duckdb"), key=ages.__getitem__)
    for path in copies[NUM_KEPT_VERSIONS:]:
        path.unlink(missing_ok=True)
    for path, age in ages.items():
        if path.suffix == _UNFINISHED and age > _ABANDONED_SECONDS:
            path.unlink(missing_ok=True)


def _age_seconds(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:  # another reader removed it
        return math.inf


def _pointer(system: Any, root: str) -> Version | None:
    try:
        return Version(**json.loads(system.cat_file(posixpath.join(root, _POINTER))))
    except FileNotFoundError:
        return None


def _version_path(root: str, name: str) -> str:
    return posixpath.join(root, _VERSIONS, name)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _store_errors(folder: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError  # with its store only

    try:
        yield
    except (OSError, BotoCoreError) as error:
        raise WarehouseError(f"{folder} cannot be read: {error}") from error
