"""The local MLflow store: created aside and renamed, so that no interruption can destroy it.

MLflow creates a SQLite store by migrating it in place; a process that is killed meanwhile leaves a
database that no later one can open.
"""

import fcntl
import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_SQLITE = "sqlite:///"


def store_path(uri: str) -> Path | None:
    """The file of a SQLite store; None of a server."""
    return Path(uri.removeprefix(_SQLITE)) if uri.startswith(_SQLITE) else None


def prepare_store(uri: str) -> None:
    """Create a SQLite store that is not there; every other store is left as it is."""
    path = store_path(uri)
    if path is None or _is_there(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        if not _is_there(path):
            fresh = _create_aside(path)
            for journal in _journals(path):
                journal.unlink()  # of a store that was destroyed: it must not reach the new one
            fresh.replace(path)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """An empty store that takes the place of `path` when the block ends without an error.

    The old one is kept beside it as `NAME.old-TIME`, with its journals.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        fresh = _create_aside(path)
        yield fresh
        suffix = time.strftime(".old-%Y%m%d-%H%M%S")
        for old in [*_journals(path), path]:
            if old.exists():
                old.rename(old.with_name(old.name.replace(path.name, path.name + suffix, 1)))
        fresh.replace(path)


def _journals(path: Path) -> list[Path]:
    names = [path.with_name(path.name + ending) for ending in ("-journal", "-wal", "-shm")]
    return [journal for journal in names if journal.exists()]


def _create_aside(path: Path) -> Path:
    """A whole, empty store beside `path`; what earlier attempts left is deleted."""
    for leftover in path.parent.glob(f".{path.name}.new-*"):
        leftover.unlink()
    fresh = path.with_name(f".{path.name}.new-{uuid.uuid4().hex}")
    _create(fresh, path.parent / "mlflow-artifacts")
    descriptor = os.open(fresh, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    return fresh


def _is_there(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0  # SQLite takes an empty file for a new store


def _create(path: Path, artifacts: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # its import takes seconds
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.WARNING)  # a line per migration

    def without_sync(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    # The file is synchronised once, as a whole: half a hundred migrations each would take seconds.
    event.listen(Engine, "connect", without_sync)
    try:
        store = SqlAlchemyStore(f"{_SQLITE}{path}", str(artifacts))
        store.engine.dispose()
    finally:
        event.remove(Engine, "connect", without_sync)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two processes that start at once create one store; the second one waits for it."""
    with path.with_name(f".{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
