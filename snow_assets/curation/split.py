"""Split repositories into train and held out, and assert that no held-out document is used.

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

import polars as pl
import pyarrow as pa

from snow_assets.curation.kept import kept_rows
from snow_assets.curation.sampling import stable_share
from snow_assets.storage import shards

TRAIN, HELD_OUT = "train", "held_out"

MAX_FALLBACK_SHARE = 0.25
"""Maximum share of a language's bytes of a held-out repository in step 3."""


@dataclass
class _Split:
    """The held-out repositories, and the bytes of each language so far."""

    share: float
    tolerance: float
    seed: int
    held_out: set[str] = field(default_factory=set)
    _total_bytes: Counter[str] = field(default_factory=Counter)
    _held_out_bytes: Counter[str] = field(default_factory=Counter)

    def add_source(self, sizes: pl.DataFrame, undecided: pl.DataFrame) -> None:
        """Split a source's repositories (repository, language, num_bytes) that are undecided."""
        already_held_out = sizes.filter(pl.col("repository").is_in(self.held_out))
        self._total_bytes.update(_bytes_by_language(sizes))
        self._held_out_bytes.update(_bytes_by_language(already_held_out))
        repositories = undecided.group_by("repository").agg("language", "num_bytes")
        hashes = [stable_share(name, seed=self.seed) for name in repositories["repository"]]
        by_hash = repositories.with_columns(hash=pl.Series(hashes, dtype=pl.Float64))
        for name, languages, num_bytes, hashed in by_hash.sort("hash", "repository").iter_rows():
            is_short = any(map(self._falls_short, languages))
            if hashed < self.share or is_short:
                self._hold_out_if_fitting(name, dict(zip(languages, num_bytes, strict=True)))
        for language in undecided["language"].unique().sort():
            if not self._held_out_bytes[language]:
                self._fall_back(language, undecided, repositories)

    def _falls_short(self, language: str) -> bool:
        target = self.share * self._total_bytes[language]
        return self._held_out_bytes[language] < (1 - self.tolerance) * target

    def _fits(self, languages: Mapping[str, int], *, without_any: bool = False) -> bool:
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
        self, name: str, languages: Mapping[str, int], *, without_any: bool = False
    ) -> None:
        if self._fits(languages, without_any=without_any):
            self.held_out.add(name)
            self._held_out_bytes.update(languages)

    def _fall_back(
        self, language: str, undecided: pl.DataFrame, repositories: pl.DataFrame
    ) -> None:
        """Hold out the smallest fitting repository of a language."""
        of_language = undecided.filter((pl.col("language") == language) & (pl.col("num_bytes") > 0))
        smallest_first = of_language.sort("num_bytes", "repository").select("repository")
        candidates = smallest_first.join(repositories, on="repository", maintain_order="left")
        for name, languages, num_bytes in candidates.iter_rows():
            if self._held_out_bytes[language]:
                break
            sizes = dict(zip(languages, num_bytes, strict=True))
            self._hold_out_if_fitting(name, sizes, without_any=True)


def _bytes_by_language(sizes: pl.DataFrame) -> dict[str, int]:
    return dict(sizes.group_by("language").agg(pl.sum("num_bytes")).iter_rows())


def held_out_repositories(
    repositories: pa.Table,
    *,
    share: float,
    tolerance: float,
    seed: int,
    source_order: Sequence[str] = (),
) -> frozenset[str]:
    """The held-out repositories of a table (source, repository, language, num_bytes).

    `tolerance` is relative to `share`. Sources not in `source_order` come last, by name.
    Time: that of sorting the repositories by hash. Memory: a few times the table.
    """
    columns = ("source", "repository", "language")
    sizes = pl.DataFrame(repositories).group_by(columns).agg(pl.sum("num_bytes"))
    split = _Split(share=share, tolerance=tolerance, seed=seed)
    names = set(sizes["source"].unique())
    ordered = [name for name in source_order if name in names]
    undecided = sizes
    for source in [*ordered, *sorted(names - set(ordered))]:
        of_source = pl.col("source") == source
        split.add_source(
            sizes.filter(of_source).drop("source"), undecided.filter(of_source).drop("source")
        )
        undecided = undecided.join(sizes.filter(of_source), on="repository", how="anti")
    return frozenset(split.held_out)


def split_shortfalls(clean_folders: Sequence[str], *, share: float, tolerance: float) -> list[str]:
    """Languages whose kept held-out bytes miss the share by more than the tolerance, and why."""
    shortfalls = []
    for folder in clean_folders:
        kept = kept_rows(folder, ["repository", "split", "num_bytes"], split=None)
        total = int(kept["num_bytes"].sum())
        held_out_bytes = int(kept.filter(pl.col("split") == HELD_OUT)["num_bytes"].sum())
        held_out = held_out_bytes / total if total else share
        if abs(held_out - share) > tolerance * share + 1e-9:
            repositories = kept.group_by("repository", maintain_order=True).agg(pl.sum("num_bytes"))
            name, largest = repositories.row(repositories["num_bytes"].arg_max() or 0)
            shortfalls.append(
                f"{shards.manifest(folder).partition}: {held_out:.2%} of the bytes are held out, "
                f"and the recipe's share is {share:.2%} within {tolerance:.0%} of it: "
                f"{repositories.height} repositories do not divide so, the largest, {name}, is "
                f"{largest / total:.0%}; add repositories of the language, or raise "
                "curation.held_out_tolerance"
            )
    return shortfalls


def assert_no_held_out(document_ids: pl.Series, clean_folders: Sequence[str]) -> None:
    """ValueError if a document is held out, or shares a text or cluster with a held-out document.

    For packs and seeds. A document without a decision in the `clean_corpus` artifacts raises, too.
    Time: linear. Memory: the ids, those of held-out documents, and those of a language.
    """
    keys = ("text_id", "cluster_id")
    held_out = pl.concat(
        kept_rows(folder, ["document_id", *keys], split=HELD_OUT) for folder in clean_folders
    )
    undecided = document_ids.unique().to_frame("document_id")
    for folder in clean_folders:
        decided = pl.DataFrame(shards.read(folder, "decisions", columns=["document_id", *keys]))
        used = decided.join(undecided, on="document_id", how="semi", maintain_order="left")
        for key in keys:
            held_out_of_key = held_out.select(key, pl.col("document_id").alias(f"held_out_{key}"))
            used = used.join(
                held_out_of_key.unique(key, keep="last"), on=key, how="left", maintain_order="left"
            )
        copies = used.select("document_id", pl.coalesce(f"held_out_{key}" for key in keys))
        for document_id, held_out_id in copies.drop_nulls().head(1).iter_rows():
            raise ValueError(
                f"document {document_id} is held out or a near duplicate of the held-out "
                f"document {held_out_id}: leave it out"
            )
        undecided = undecided.join(decided, on="document_id", how="anti")
    if len(undecided):
        raise ValueError(
            f"{len(undecided)} documents, {min(undecided['document_id'])} among them, are in none "
            f"of the clean corpora {list(clean_folders)}: name the artifacts that they come from"
        )
