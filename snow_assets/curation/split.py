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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

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
        columns = ["repository", "split", "num_bytes"]
        kept_bytes: Counter[str] = Counter()
        repositories: Counter[str] = Counter()
        for batch in shards.batches(folder, "decisions", columns=columns, rows=4096):
            for row in batch.filter(pc.is_valid(batch["split"])).to_pylist():
                kept_bytes[row["split"]] += row["num_bytes"]
                repositories[row["repository"]] += row["num_bytes"]
        total = kept_bytes.total()
        held_out = kept_bytes[HELD_OUT] / total if total else share
        if abs(held_out - share) > tolerance * share + 1e-9:
            name, largest = max(repositories.items(), key=lambda entry: entry[1])
            shortfalls.append(
                f"{shards.manifest(folder).partition}: {held_out:.2%} of the bytes are held out, "
                f"and the recipe's share is {share:.2%} within {tolerance:.0%} of it: "
                f"{len(repositories)} repositories do not divide so, the largest, {name}, is "
                f"{largest / total:.0%}; add repositories of the language, or raise "
                "curation.held_out_tolerance"
            )
    return shortfalls


def assert_no_held_out(
    document_ids: Iterable[str],
    clean_folders: Sequence[str],
    *,
    text_ids: Iterable[str] = (),
) -> None:
    """ValueError if a document is held out, or shares a text or cluster with a held-out document.

    For packs, seeds and annotator examples. `text_ids` are for tables without document ids. A
    document without a decision in the `clean_corpus` artifacts raises, too. Memory: the ids, those
    of held-out documents, and a shard of decisions.
    """
    texts, clusters, held_out_ids = _held_out(clean_folders)
    undecided = set(document_ids)
    for text_id in text_ids:
        if text_id in texts:
            raise ValueError(
                f"text {text_id} is held out as document {texts[text_id]}: leave it out"
            )
    columns = ["document_id", "text_id", "cluster_id"]
    for folder in clean_folders:
        for batch in shards.batches(folder, "decisions", columns=columns, rows=4096):
            for row in batch.filter(
                pc.is_in(batch["document_id"], pa.array(list(undecided), pa.string()))
            ).to_pylist():
                document_id = row["document_id"]
                undecided.discard(document_id)
                held_out_id = texts.get(row["text_id"]) or clusters.get(row["cluster_id"])
                if document_id in held_out_ids or held_out_id:
                    raise ValueError(
                        f"document {document_id} is held out or a near duplicate of the held-out "
                        f"document {held_out_id or document_id}: leave it out"
                    )
    if undecided:
        raise ValueError(
            f"{len(undecided)} documents, {min(undecided)} among them, are in none of the clean "
            f"corpora {list(clean_folders)}: name the artifacts that they come from"
        )


def _held_out(
    clean_folders: Sequence[str],
) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Text -> held-out document, cluster -> held-out document, and all held-out document ids."""
    texts: dict[str, str] = {}
    clusters: dict[str, str] = {}
    columns = ["document_id", "text_id", "cluster_id", "split"]
    for folder in clean_folders:
        for batch in shards.batches(folder, "decisions", columns=columns, rows=4096):
            for row in batch.filter(
                pc.fill_null(pc.equal(batch["split"], HELD_OUT), False)
            ).to_pylist():
                texts[row["text_id"]] = row["document_id"]
                if row["cluster_id"] is not None:
                    clusters[row["cluster_id"]] = row["document_id"]
    return texts, clusters, set(texts.values())
