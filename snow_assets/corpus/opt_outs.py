"""Repositories that must not enter the corpus because their owners asked so."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from snow_assets import shards
from snow_assets.corpus.received import normalised
from snow_assets.home import CHECKOUT

FILE = "opt_outs.txt"


def read_list(path: str) -> list[str]:
    """The list as it is kept in the checkout: normalised, sorted, without comments."""
    file = CHECKOUT / path if not Path(path).is_absolute() else Path(path)
    if not file.is_file():
        raise ValueError(
            f"the opt-out list {file} is missing: create it (empty is fine) or name another one "
            f"in the recipe's corpus.opt_out_list"
        )
    lines = (line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines())
    return sorted({normalised(line) for line in lines if line})


def write(folder: str, opted_out: Sequence[str]) -> int:
    """Keep the list as a file of a generation; returns how many repositories it names."""
    shards.put_file(folder, FILE, "".join(f"{name}\n" for name in opted_out).encode())
    return len(opted_out)


def read(folder: str) -> frozenset[str]:
    return frozenset(shards.get_file(folder, FILE).decode().split())


def is_listed(repository: str, names: Iterable[str]) -> bool:
    """Whether a repository stands on a list, by its own name or by its owner's `owner/*`."""
    name = normalised(repository)
    owner = name.rpartition("/")[0]
    listed = names if isinstance(names, frozenset) else frozenset(names)
    return name in listed or (bool(owner) and f"{owner}/*" in listed)
