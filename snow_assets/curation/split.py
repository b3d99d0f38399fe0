"""Which repositories are held out from training, and the proof that nothing of them is trained on.

A repository is held out as a whole, in all languages. Of each language the bytes of the held-out
repositories come to the recipe's share, within its tolerance, where the repositories allow it:

1. Repositories whose hash lies below the share are held out, in the order of their hashes, unless
   that would exceed the share of one of their languages by more than the tolerance.
2. Languages that fall short take further repositories, in the order of their hashes, within the
   same limit.
3. A language that still has none holds out its smallest repository that is at most
   `MAX_FALLBACK_SHARE` of it and exceeds no other language's limit; else it is trained on whole.

What is not met is a warning on the asset: `split_shortfalls`.

Sources decide in the recipe's order, each over the repositories that no earlier one has, with the
bytes of all up to it. So a source that is added at the recipe's end leaves every earlier
repository where it was, as long as deduplication leaves the earlier sources' sizes: a repository
that was held out stays held out.

Of a near-duplicate cluster only the survivor is kept at all, so no kept document of one side has a
near copy on the other.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.curation.sampling import stable_share

TRAIN, HELD_OUT = "train", "held_out"

MAX_FALLBACK_SHARE = 0.25
"""Of a language's bytes: no repository that is more is held out, whatever the recipe's share."""


@dataclass
class _Split:
    """The choice so far. Memory: a name, a hash and a count per language of each repository."""

    share: float
    tolerance: float
    seed: int
    held_out: set[str] = field(default_factory=set)
    _decided: set[str] = field(default_factory=set)
    _total_bytes: Counter[str] = field(default_factory=Counter)
    _held_out_bytes: Counter[str] = field(default_factory=Counter)

    def add_source(self, sizes: Mapping[str, Mapping[str, int]]) -> None:
        """Decide over a source's repositories (name -> language -> bytes)."""
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
        """Whether no language's limit is exceeded; `without_any`: one that has no held-out
        repository may give up `MAX_FALLBACK_SHARE`."""
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
        """Give each language without a held-out repository its smallest that harms no other."""
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
    """The held-out ones of a `repositories` table (source, repository, language, num_bytes).

    `tolerance` is relative to `share`. Sources that `source_order` does not name come last, in
    name order. Time: that of sorting the repositories by hash.
    """
    sizes: dict[str, dict[str, Counter[str]]] = {}
    for row in repositories.select(["source", "repository", "language", "num_bytes"]).to_pylist():
        of_source = sizes.setdefault(row["source"], {})
        of_source.setdefault(row["repository"], Counter())[row["language"]] += row["num_bytes"]
    split = _Split(share=share, tolerance=tolerance, seed=seed)
    known = [name for name in source_order if name in sizes]
    for source in [*known, *sorted(sizes.keys() - set(known))]:
        split.add_source(sizes[source])
    return frozenset(split.held_out)


def split_shortfalls(clean_folders: Sequence[str], *, share: float, tolerance: float) -> list[str]:
    """Languages whose kept held-out bytes are not the share within its tolerance, and why."""
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
                f"and the recipe asks for {share:.2%} within {tolerance:.0%} of it: "
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
    """Refuse documents that are held out, or share a text or a near-duplicate cluster with one.

    For packs, seeds and annotator examples. `text_ids` are for tables that name texts only. A
    document that no `clean_corpus` generation decided on is refused too: nothing is known of it.
    Memory: the ids given, those of held-out documents, and a shard of decisions.
    """
    texts, clusters, names = _held_out(clean_folders)
    unknown = set(document_ids)
    for text_id in text_ids:
        if text_id in texts:
            raise ValueError(
                f"text {text_id} is held out as document {texts[text_id]}: leave it out"
            )
    columns = ["document_id", "text_id", "cluster_id"]
    for folder in clean_folders:
        for batch in shards.batches(folder, "decisions", columns=columns, rows=4096):
            for row in batch.filter(
                pc.is_in(batch["document_id"], pa.array(list(unknown), pa.string()))
            ).to_pylist():
                document_id = row["document_id"]
                unknown.discard(document_id)
                held = texts.get(row["text_id"]) or clusters.get(row["cluster_id"])
                if document_id in names or held:
                    raise ValueError(
                        f"document {document_id} is held out or a near copy of the held-out "
                        f"document {held or document_id}: leave it out"
                    )
    if unknown:
        raise ValueError(
            f"{len(unknown)} documents, {min(unknown)} among them, are in none of the clean "
            f"corpora {list(clean_folders)}: name the generations that they come from"
        )


def _held_out(
    clean_folders: Sequence[str],
) -> tuple[dict[str, str], dict[str, str], set[str]]:
    """Text and cluster -> held-out document; and the held-out documents."""
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
