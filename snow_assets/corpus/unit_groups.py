"""Groups of a source's units, each ingested by a call of its own.

Groups are consecutive units of about `GROUP_BYTES`, by listed sizes. They depend on the source
alone, so that a source's shards do not depend on the number of workers.
"""

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

from snow_assets.corpus.source_units import Unit

GROUP_BYTES = 1 << 30
_UNLISTED_BYTES = 4 << 20  # assumed of a unit whose size is not listed: a repository's folder
_MAX_INDICES = 1_000_000  # of a group's shards


@dataclass(frozen=True, kw_only=True)
class UnitGroup:
    """Consecutive units of a source."""

    index: int
    start: int  # the position of its first unit in the source
    num_units: int
    digest: str  # of the units' names, sizes and versions
    is_only: bool  # of its source

    def shard_index(self, number: int) -> int:
        """The index of the group's shard `number` in the artifact; ValueError beyond the last.

        Indices are even, unless the group is the only one, so that `replacing_index` is free.
        """
        if self.is_only:
            return number
        if 2 * number >= _MAX_INDICES:
            raise ValueError(
                f"a part of the source fills {number} shards: raise the recipe's corpus.shard_bytes"
            )
        return self.index * _MAX_INDICES + 2 * number

    def units(self, source_units: Iterator[Unit]) -> Iterator[tuple[int, Unit]]:
        """The group's units among all of the source, with their positions in it.

        ValueError if the source has other ones there than when it was divided into groups, by the
        process that divided it.
        """
        selected = deque(islice(source_units, self.start, self.start + self.num_units))
        if _digest(map(_identity, selected)) != self.digest:
            raise ValueError(
                "the source's files changed while they were ingested, or are others on this node "
                "of a cluster: materialize raw_code_corpus again where all nodes have the same"
            )
        for position in count(self.start):
            if not selected:
                return
            yield position, selected.popleft()  # what a unit has read is freed with it


def replacing_index(index: int) -> int:
    """The index of the shard that replaces one of a source of several groups, in its place."""
    return index + 1


def replaced_index(index: int) -> int | None:
    """The inverse of `replacing_index`; None: the shard replaces none."""
    return index - 1 if index % 2 else None


def unit_groups(source_units: Iterable[Unit]) -> list[UnitGroup]:
    """Divide a source's units into groups, in order: one at least, and no unit into several.

    Memory: the names of a group's units, and 200 bytes a group.
    """
    groups: list[UnitGroup] = []
    identities: list[str] = []
    num_bytes, start = 0, 0
    for position, unit in enumerate(source_units):
        unit_bytes = _UNLISTED_BYTES if unit.num_bytes is None else unit.num_bytes
        if identities and num_bytes + unit_bytes > GROUP_BYTES:
            groups.append(_group(len(groups), start, identities, is_only=False))
            identities, num_bytes, start = [], 0, position
        identities.append(_identity(unit))
        num_bytes += unit_bytes
    return [*groups, _group(len(groups), start, identities, is_only=not groups)]


def _group(index: int, start: int, identities: Sequence[str], *, is_only: bool) -> UnitGroup:
    return UnitGroup(
        index=index,
        start=start,
        num_units=len(identities),
        digest=_digest(identities),
        is_only=is_only,
    )


def _identity(unit: Unit) -> str:
    return f"{unit.name} {unit.num_bytes} {unit.version}"


def _digest(identities: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(identities).encode("utf-8", "surrogatepass")).hexdigest()
