"""The files that a source's locations name: a file, or all files of a folder, local or remote."""

from collections.abc import Sequence

from snow_assets import shards


def expanded(locations: Sequence[str], suffixes: tuple[str, ...]) -> list[tuple[str, int]]:
    """Every file with one of the suffixes, and its size, in name order.

    A location that names nothing: ValueError, with the remedy. One in a store that cannot be
    asked: OSError.
    """
    found: list[tuple[str, int]] = []
    for location in locations:
        system, path = shards.file_system(location)
        with shards.store_errors(location):
            if not system.exists(path):
                raise ValueError(
                    f"the source location {location!r} is not there: correct the recipe"
                )
            is_folder = system.isdir(path)
            inner = system.find(path, detail=True) if is_folder else {path: system.info(path)}
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
