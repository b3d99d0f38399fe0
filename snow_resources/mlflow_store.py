"""The local MLflow store: created in a temporary file and renamed, so that it is never incomplete.

MLflow creates a SQLite store by migrating it in place; a process that is killed meanwhile leaves a
database that cannot be opened.
"""

import logging
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from snow_resources.file_lock import exclusive

_LOGGER = logging.getLogger(__name__)
_SQLITE = "sqlite:///"


def store_path(uri: str) -> Path | None:
    """The file of a SQLite store; None for a server."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def prepare_store(uri: str) -> None:
    """Create a SQLite store if it does not exist; leave every other store unchanged."""
    path = store_path(uri)
    if path is None or _exists(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        if not _exists(path):
            fresh = _create_temporary(path)
            for journal in _journals(path):
                journal.unlink()  # of a deleted store: SQLite must not apply it to the new one
            fresh.replace(path)


@contextmanager
def replace_store(path: Path) -> Iterator[Path]:
    """Yield an empty store that replaces `path` when the block ends without an error.

    The old store is kept in the same folder as `NAME.old-TIME`, with its journals.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        fresh = _create_temporary(path)
        yield fresh
        suffix = time.strftime(".old-%Y%m%d-%H%M%S")
        for old in [*_journals(path), path]:
            if old.exists():
                old.rename(old.with_name(old.name.replace(path.name, path.name + suffix, 1)))
        fresh.replace(path)


@contextmanager
def copied_store(path: Path) -> Iterator[str]:
    """Yield the address of a copy of a SQLite store: MLflow may change a damaged one that it reads,
    and keeps its connections to the file."""
    with tempfile.TemporaryDirectory(prefix="mlflow-") as scratch:
        for file in [path, *_journals(path)]:
            shutil.copy(file, scratch)
        yield f"{_SQLITE}{Path(scratch) / path.name}"


def _journals(path: Path) -> list[Path]:
    names = [path.with_name(path.name + ending) for ending in ("-journal", "-wal", "-shm")]
    return [journal for journal in names if journal.exists()]


def _create_temporary(path: Path) -> Path:
    """Create an empty store in the folder of `path`; delete leftovers of earlier attempts."""
    for leftover in path.parent.glob(f".{path.name}.new-*"):
        leftover.unlink()
    fresh = path.with_name(f".{path.name}.new-{uuid.uuid4().hex}")
    _create(fresh, path.parent / "mlflow-artifacts")
    descriptor = os.open(fresh, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    return fresh


def _exists(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0  # SQLite takes an empty file for a new store


def _create(path: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # its import takes seconds
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)  # a line per migration

    def without_sync(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    # The file is synced once at the end: a sync for each of about 50 migrations would take seconds.
    event.listen(Engine, "connect", without_sync)
    try:
        store = SqlAlchemyStore(f"{_SQLITE}{path}", str(artifacts))
        store.engine.dispose()
    finally:
        event.remove(Engine, "connect", without_sync)


def _locked(path: Path) -> AbstractContextManager[None]:
    """Lock the store's creation: a second process waits for the first."""
    waiting = f"Another process creates {path}; waiting for it"
    lock = path.with_name(f".{path.name}.lock")
    return exclusive(lock, waiting=waiting, warn=_LOGGER.warning)
