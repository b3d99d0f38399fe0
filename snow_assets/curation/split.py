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
    """The state of the split. Memory: name, hash and a count per language of each repository."""

    share: float
    tolerance: float
    seed: int
    held_out: set[str] = field(default_factory=set)
    _decided: set[str] = field(default_factory=set)
    _total_bytes: Counter[str] = field(default_factory=Counter)
    _held_out_bytes: Counter[str] = field(default_factory=Counter)

    def add_source(self, sizes: Mapping[str, Mapping[str, int]]) -> None:
        """Split a source's repositories (name -> language -> bytes)."""
        for name, languages in sizes.items():
            self._total_bytes.update(languages)
            if name in self.held_out:
                self._held_out_bytes.update(languages)
        hashes = {name: stable_share(name, seed=self.seed) for name in sizes}
        ordered = sorted(sizes.keys() - self._decided, key=lambda name: (hashes[name], name))
        self._decided.update(ordered)
        for name in ordered:
            is_short = any(map(self._falls_short, sizes[name]))
            if (hashes[name] < self.share or is_short) and self._fits(sizes[name]):
                self._hold_out(name, sizes[name])
        self._fall_back([name for name in ordered if name not in self.held_out], sizes)

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

    def _hold_out(self, name: str, languages: Mapping[str, int]) -> None:
        self.held_out.add(name)
        self._held_out_bytes.update(languages)

    def _fall_back(self, names: Sequence[str], sizes: Mapping[str, Mapping[str, int]]) -> None:
        """Hold out the smallest fitting repository of each language that has none."""
        by_language: dict[str, list[tuple[int, str]]] = {}
        for name in names:
            for language, size in sizes[name].items():
                if size and not self._held_out_bytes[language]:
                    by_language.setdefault(language, []).append((size, name))
        for language, repositories in sorted(by_language.items()):
            for _, name in sorted(repositories):
                if self._held_out_bytes[language]:
                    break
                if name not in self.held_out and self._fits(sizes[name], without_any=True):
                    self._hold_out(name, sizes[name])


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
    Time: that of sorting the repositories by hash.
    """
    sizes: dict[str, dict[str, Counter[str]]] = {}
    for row in repositories.select(["source", "repository", "language", "num_bytes"]).to_pylist():
        source_sizes = sizes.setdefault(row["source"], {})
        source_sizes.setdefault(row["repository"], Counter())[row["language"]] += row["num_bytes"]
    split = _Split(share=share, tolerance=tolerance, seed=seed)
    ordered = [name for name in source_order if name in sizes]
    for source in [*ordered, *sorted(sizes.keys() - set(ordered))]:
        split.add_source(sizes[source])
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
