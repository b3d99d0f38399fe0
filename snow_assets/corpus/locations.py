"""The files that a source's locations name: a file, or all files of a folder, local or remote."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from snow_assets import shards


def expanded(locations: Sequence[str], suffixes: tuple[str, ...]) -> list[tuple[str, int]]:
    """Every file with one of the suffixes, and its size, in name order.

    A location that names nothing: ValueError, with the remedy. One in a store that cannot be
    asked: OSError.
    """
    found: list[tuple[str, int]] = []
    for location in locations:
        system, path = shards.file_system(location)
        with _asked(location):
            inner = _files(system, path)
        if inner is None:
            raise ValueError(f"the source location {location!r} is not there: correct the recipe")
        named = [
            (system.unstrip_protocol(name) if "://" in location else name, int(info["size"]))
            for name, info in sorted(inner.items())
            if name.lower().endswith(suffixes)
        ]
        if not named:
            raise ValueError(
                f"the source location {location!r} has no file ending in {', '.join(suffixes)}: "
                f"correct the recipe's location or kind"
            )
        found += named
    return found


def _files(system: Any, path: str) -> dict[str, dict[str, Any]] | None:
    """The files at a path by name; None: nothing is there."""
    if not system.exists(path):
        return None
    listed: dict[str, dict[str, Any]] = (
        system.find(path, detail=True) if system.isdir(path) else {path: system.info(path)}
    )
    return listed


@contextmanager
def _asked(location: str) -> Iterator[None]:
    """Without credentials or an endpoint, a store's client raises errors of its own."""
    if "://" not in location:
        yield
        return
    from botocore.exceptions import BotoCoreError  # with its store only

    try:
        yield
    except (OSError, BotoCoreError) as error:
        raise OSError(
            f"the source location {location!r} cannot be listed ({type(error).__name__}: {error}): "
            "give the store's address and credentials, or correct the recipe"
        ) from error
