"""Split repositories into train and held out.

A repository is held out as a whole, in all languages. In each language the held-out repositories
have the recipe's share of the bytes, within its tolerance, where the repositories allow it:

1. Repositories whose hash is below the share are held out, in the order of their hashes, unless
   that would exceed the share of one of their languages by more than the tolerance.
2. Languages below their share get further repositories, in the order of their hashes, within the
   same limit.
3. A language that still has none holds out its smallest repository that is at most
   `MAX_FALLBACK_SHARE` of it and exceeds no other language's limit; else all of it is trained on.

`split_shortfalls` reports languages that miss their share, as a warning on the asset.

Sources are split in the recipe's order: each splits the repositories that no earlier source has,
with the bytes of all sources up to it. So a source appended to the recipe does not move earlier
repositories, as long as deduplication does not change the earlier sources' sizes: a held-out
repository stays held out.

Only the canonical document of a near-duplicate cluster is kept, so no kept document of one split
has a near duplicate in the other.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.curation.kept import kept_shard
from snow_assets.curation.sampling import stable_share
from snow_assets.recipe import CurationRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import HELD_OUT_REPOSITORY

TRAIN, HELD_OUT = "train", "held_out"
SPLIT_COLUMNS = ("source", "repository", "language", "num_bytes")
"""The columns of near_duplicates' table `repositories` that the split is computed from."""

Indices = npt.NDArray[np.uint32] | npt.NDArray[np.int64]

MAX_FALLBACK_SHARE = 0.25
"""Maximum share of a language's bytes of a held-out repository in step 3."""


class _Sizes(NamedTuple):
    """Bytes of repositories by language, sorted by repository: indices of names, and bytes."""

    repository: Indices
    language: Indices
    num_bytes: Indices

    def where(self, rows: npt.NDArray[np.bool_] | slice) -> "_Sizes":
        return _Sizes(*(column[rows] for column in self))

    def of(self, repository: int) -> dict[int, int]:
        """Language -> bytes of a repository."""
        rows = slice(*np.searchsorted(self.repository, [repository, repository + 1]))
        return dict(zip(self.language[rows].tolist(), self.num_bytes[rows].tolist(), strict=True))

    def by_language(self) -> dict[int, int]:
        totals = np.zeros(self.language.max(initial=0) + 1, dtype=np.int64)
        np.add.at(totals, self.language, self.num_bytes)
        return {language: int(totals[language]) for language in np.unique(self.language).tolist()}


@dataclass
class _Split:
    """The held-out repositories, and the bytes of each language so far."""

    share: float
    tolerance: float
    hashes: npt.NDArray[np.float64]  # of each repository
    is_held_out: npt.NDArray[np.bool_]  # each repository
    _total_bytes: Counter[int] = field(default_factory=Counter)
    _held_out_bytes: Counter[int] = field(default_factory=Counter)

    def add_source(self, sizes: _Sizes, undecided: _Sizes) -> None:
        """Split a source's repositories that are undecided."""
        self._total_bytes.update(sizes.by_language())
        already_held_out = sizes.where(self.is_held_out[sizes.repository])
        self._held_out_bytes.update(already_held_out.by_language())
        repositories = np.unique(undecided.repository)
        languages = np.unique(undecided.language).tolist()
        by_hash = repositories[np.lexsort((repositories, self.hashes[repositories]))]
        for repository in by_hash:
            is_below = self.hashes[repository] < self.share
            if not is_below and not any(map(self._falls_short, languages)):
                break
            num_bytes = undecided.of(repository)
            if is_below or any(map(self._falls_short, num_bytes)):
                self._hold_out_if_fitting(repository, num_bytes)
        for language in languages:
            if not self._held_out_bytes[language]:
                self._fall_back(language, undecided)

    def _falls_short(self, language: int) -> bool:
        target = self.share * self._total_bytes[language]
        return self._held_out_bytes[language] < (1 - self.tolerance) * target

    def _fits(self, languages: Mapping[int, int], *, without_any: bool = False) -> bool:
        """Whether no language's limit is exceeded; `without_any`: the limit of a language without
        held-out repositories is `MAX_FALLBACK_SHARE`."""
        limit = (1 + self.tolerance) * self.share
        fallback = max(limit, MAX_FALLBACK_SHARE) if without_any else limit
        return all(
            self._held_out_bytes[name] + size
            <= (limit if self._held_out_bytes[name] else fallback) * self._total_bytes[name]
            for name, size in languages.items()
        )

    def _hold_out_if_fitting(
        self, repository: int, languages: Mapping[int, int], *, without_any: bool = False
    ) -> None:
        if self._fits(languages, without_any=without_any):
            self.is_held_out[repository] = True
            self._held_out_bytes.update(languages)

    def _fall_back(self, language: int, undecided: _Sizes) -> None:
        """Hold out the smallest fitting repository of a language."""
        rows = (undecided.language == language) & (undecided.num_bytes > 0)
        of_language = undecided.where(rows)
        for row in np.lexsort((of_language.repository, of_language.num_bytes)):
            if self._held_out_bytes[language]:
                break
            repository = of_language.repository[row]
            self._hold_out_if_fitting(repository, undecided.of(repository), without_any=True)


def put_held_out_repositories(
    near_duplicates: str,
    folder: str,
    *,
    recipe: CurationRecipe,
    source_order: Sequence[str] = (),
) -> dict[str, int]:
    """Write the held-out repositories, a shard per language that has any; return the stats.

    Time and memory: those of `held_out_repositories`, for all languages together.
    """
    repositories = shards.read(near_duplicates, "repositories", columns=SPLIT_COLUMNS)
    held_out = pa.array(
        held_out_repositories(
            repositories,
            share=recipe.held_out_fraction,
            tolerance=recipe.held_out_tolerance,
            seed=recipe.seed,
            source_order=source_order,
        ),
        repositories["repository"].type,
    )
    rows = repositories.filter(pc.is_in(repositories["repository"], held_out))
    languages = sorted(pc.unique(rows["language"]).to_pylist())
    for index, language in enumerate(languages):
        of_language = rows.filter(pc.equal(rows["language"], language))["repository"]
        table = pa.table([pc.unique(of_language).sort()], schema=HELD_OUT_REPOSITORY)
        stats = {"language": language}
        shards.put_table(folder, "repositories", index, table, HELD_OUT_REPOSITORY, stats=stats)
    return {
        "repositories": pc.count_distinct(repositories["repository"]).as_py(),
        "held_out_repositories": len(held_out),
    }


def read_held_out(folder: str, *, language: str | None = None) -> frozenset[str]:
    """The held-out repositories with documents in a language; None: in any."""
    tables = (
        shards.read_shard(folder, entry.name)
        for entry in shards.manifest(folder).tables("repositories")
        if language in {None, entry.stats["language"]}
    )
    return frozenset(name for table in tables for name in table["repository"].to_pylist())


def held_out_repositories(
    repositories: pa.Table,
    *,
    share: float,
    tolerance: float,
    seed: int,
    source_order: Sequence[str] = (),
) -> list[str]:
    """The held-out repositories of a table with `SPLIT_COLUMNS`, in the order of their names.

    `tolerance` is relative to `share`. Sources not in `source_order` come last, by name.
    Time: that of sorting the repositories. Memory: about 160 bytes a row beside the table.
    """
    sources, source = _codes(repositories["source"])
    names, repository = _codes(repositories["repository"])
    _, language = _codes(repositories["language"])
    order = np.lexsort((language, repository, source))
    source, repository, language = source[order], repository[order], language[order]
    num_bytes = repositories["num_bytes"].to_numpy()[order]
    is_first = np.ones(len(order), dtype=np.bool_)  # of its source, repository and language
    is_first[1:] = False
    for column in (source, repository, language):
        is_first[1:] |= column[1:] != column[:-1]
    num_bytes = np.add.reduceat(num_bytes, np.flatnonzero(is_first)) if len(order) else num_bytes
    source, all_sizes = (
        source[is_first],
        _Sizes(repository[is_first], language[is_first], num_bytes),
    )
    del repository, language, order
    shares = (stable_share(name.as_py(), seed=seed) for name in names)
    hashes = np.fromiter(shares, np.float64, count=len(names))
    is_decided, is_held_out = np.zeros((2, len(names)), dtype=np.bool_)
    split = _Split(share, tolerance, hashes, is_held_out)
    source_names = sources.to_pylist()
    ordered = [name for name in source_order if name in source_names]
    for code in map(source_names.index, [*ordered, *sorted(set(source_names) - set(ordered))]):
        sizes = all_sizes.where(slice(*np.searchsorted(source, [code, code + 1])))
        split.add_source(sizes, sizes.where(~is_decided[sizes.repository]))
        is_decided[sizes.repository] = True
    held_out: list[str] = names.filter(pa.array(is_held_out)).to_pylist()
    return held_out


def _codes(column: pa.ChunkedArray) -> tuple[pa.Array, Indices]:
    """The distinct values in order, and the index among these of each value."""
    column = column.cast(pa.large_string())  # the values together may exceed 2 GB
    order = pc.sort_indices(column)
    ascending = column.take(order).combine_chunks()
    is_first = np.ones(len(ascending), dtype=np.bool_)
    is_first[1:] = pc.not_equal(ascending[1:], ascending[:-1]).to_numpy(zero_copy_only=False)
    codes = np.empty(len(ascending), dtype=np.uint32)
    codes[order.to_numpy()] = np.cumsum(is_first, dtype=np.uint32) - 1
    return ascending.filter(pa.array(is_first)), codes


def split_shortfalls(clean_folders: Sequence[str], *, share: float, tolerance: float) -> list[str]:
    """Languages whose kept held-out bytes miss the share by more than the tolerance, and why.

    Memory: the repositories of a language.
    """
    shortfalls = []
    for folder in clean_folders:
        sizes = pl.concat(
            _repository_sizes(folder, entry)
            for entry in shards.manifest(folder).tables("decisions")
        )
        total = int(sizes["num_bytes"].sum())
        held_out_bytes = int(sizes.filter(pl.col("split") == HELD_OUT)["num_bytes"].sum())
        held_out = held_out_bytes / total if total else share
        if abs(held_out - share) > tolerance * share + 1e-9:
            repositories = sizes.group_by("repository", maintain_order=True).agg(
                pl.sum("num_bytes")
            )
            name, largest = repositories.row(repositories["num_bytes"].arg_max() or 0)
            shortfalls.append(
                f"{shards.manifest(folder).partition}: {held_out:.2%} of the bytes are held out, "
                f"and the recipe's share is {share:.2%} within {tolerance:.0%} of it: "
                f"{repositories.height} repositories do not divide so, the largest, {name}, is "
                f"{largest / total:.0%}; add repositories of the language, or raise "
                "curation.held_out_tolerance"
            )
    return shortfalls


def _repository_sizes(clean_folder: str, entry: shards.FileRecord) -> pl.DataFrame:
    """The bytes of the kept documents of a shard, by repository and split."""
    kept = kept_shard(clean_folder, entry, ["repository", "split", "num_bytes"], split=None)
    return (
        pl.DataFrame(kept)
        .group_by("repository", "split", maintain_order=True)
        .agg(pl.sum("num_bytes"))
    )
