"""What comparisons rest on: for each arm, whether its data are today's, and what changed since."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa

from snow_assets.defs.curation import clean_corpus
from snow_assets.defs.documents import documents
from snow_assets.defs.experiments import experiment_arms, experiment_comparisons
from snow_assets.experiments.arms import partition_parts
from snow_assets.storage import shards
from snow_assets.tables.sources import RecipeArtifact, is_checkpoint

ARM_EVIDENCE = pa.schema(
    [
        pa.field("recipe", pa.string(), nullable=False),
        pa.field("experiment", pa.string(), nullable=False),
        pa.field("arm", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("is_stale", pa.bool_(), nullable=False),
        pa.field("changed", pa.string()),  # the inputs that are no longer the recipe's; null: none
        pa.field("left_documents", pa.int64()),
        pa.field("left_tokens", pa.int64()),
        pa.field("entered_documents", pa.int64()),
        pa.field("entered_tokens", pa.int64()),
    ]
)
"""An arm with a seed of a recipe's current comparisons; without the old corpus counts are null."""

Inputs = Mapping[str, shards.Input]  # of an asset, by partition


@dataclass(frozen=True, kw_only=True)
class _Corpus:
    """The clean corpus of an arm, by language; `sources`: the documents that it is made from."""

    languages: Inputs
    sources: Inputs
    is_recipes: bool  # the recipe's, not one of the arm's own


@dataclass
class _Lake:
    """Reads each manifest once."""

    url: str
    manifests: dict[str, shards.Manifest | None] = field(default_factory=dict)
    changes: dict[tuple[str, ...], dict[str, int | None]] = field(default_factory=dict)

    def folder(self, read: shards.Input) -> str:
        return shards.join(self.url, read.asset, read.partition, read.fingerprint)

    def manifest(self, read: shards.Input) -> shards.Manifest | None:
        folder = self.folder(read)
        if folder not in self.manifests:
            self.manifests[folder] = shards.sound_manifest(folder)
        return self.manifests[folder]


def evidence(lake: str, artifacts: Sequence[RecipeArtifact]) -> pa.Table:
    """ARM_EVIDENCE rows of the comparisons among the current `artifacts`, for all their recipes.

    An arm on the recipe's corpus is stale if that is another one now; an arm with a corpus of its
    own if a source that it reads is another snapshot now. Reads manifests, and `decisions` of the
    corpora that differ. Memory: two corpora's document digests of one language.
    """
    reader = _Lake(lake)
    current = [artifact for artifact in artifacts if artifact.is_current]
    rows = []
    for artifact in current:
        if artifact.manifest.asset != experiment_comparisons.name:
            continue
        today = [item.manifest for item in current if item.recipe == artifact.recipe]
        for read in artifact.manifest.inputs:
            arm = reader.manifest(read) if read.asset == experiment_arms.name else None
            if arm is not None:
                experiment, name, seed = partition_parts(arm.partition)
                rows.append(
                    {
                        "recipe": artifact.recipe,
                        "experiment": experiment,
                        "arm": name,
                        "seed": seed,
                        **_staleness(reader, _corpus(reader, arm), today),
                    }
                )
    return pa.Table.from_pylist(rows, ARM_EVIDENCE)


def _by_partition(asset: str, inputs: Sequence[shards.Input]) -> dict[str, shards.Input]:
    return {read.partition: read for read in inputs if read.asset == asset}


def _corpus(reader: _Lake, arm: shards.Manifest) -> _Corpus:
    """The corpus of the checkpoint's lineage; the recipe's of that time where that is purged."""
    recipes = _by_partition(clean_corpus.name, arm.inputs)
    languages = {read.partition: read for read in _clean_inputs(reader, arm)} or recipes
    sources: dict[str, shards.Input] = {}
    for read in languages.values():
        if (manifest := reader.manifest(read)) is not None:
            sources |= _by_partition(documents.name, manifest.inputs)
    return _Corpus(languages=languages, sources=sources, is_recipes=languages == recipes)


def _clean_inputs(reader: _Lake, arm: shards.Manifest) -> Iterator[shards.Input]:
    """The clean corpora that the arm's checkpoint was made from, through all its phases."""
    queue = [read for read in arm.inputs if is_checkpoint(read.asset)]
    visited = set()
    while queue:
        read = queue.pop()
        folder = reader.folder(read)
        if folder in visited:
            continue
        visited.add(folder)
        if read.asset == clean_corpus.name:
            yield read
        elif (manifest := reader.manifest(read)) is not None:
            queue += manifest.inputs


def _staleness(
    reader: _Lake, corpus: _Corpus, today: Sequence[shards.Manifest]
) -> dict[str, bool | int | str | None]:
    clean = {item.partition: item for item in today if item.asset == clean_corpus.name}
    sources = {item.partition: item for item in today if item.asset == documents.name}
    changed_sources = [
        name
        for name, read in corpus.sources.items()
        if name in sources and sources[name].digest != read.digest
    ]
    digests = {name: read.digest for name, read in corpus.languages.items()}
    if corpus.is_recipes:
        names = [
            f"{clean_corpus.name} [{name}]"
            for name in sorted({*digests, *clean})
            if name not in clean or digests.get(name) != clean[name].digest
        ]
    else:
        names = [f"{documents.name} [{name}]" for name in sorted(changed_sources)]
    if not names:
        return {
            "is_stale": False,
            "changed": None,
            **dict.fromkeys(_COUNTS, 0),
        }
    only = None if corpus.is_recipes else changed_sources
    return {
        "is_stale": True,
        "changed": ", ".join(names),
        **_counts(reader, corpus, clean, only=only),
    }


_COUNTS = ("left_documents", "left_tokens", "entered_documents", "entered_tokens")


def _counts(
    reader: _Lake,
    corpus: _Corpus,
    clean: Mapping[str, shards.Manifest],
    *,
    only: Sequence[str] | None,
) -> dict[str, int | None]:
    """Documents and tokens that left and entered; `only`: of these sources."""
    before = sorted(map(reader.folder, corpus.languages.values()))
    after = sorted(_folder(reader, manifest) for manifest in clean.values())
    key = (*before, "|", *after, "|", *sorted(only or ()))
    if key not in reader.changes:
        reader.changes[key] = _counted(reader, corpus, clean, only=only)
    return reader.changes[key]


def _counted(
    reader: _Lake,
    corpus: _Corpus,
    clean: Mapping[str, shards.Manifest],
    *,
    only: Sequence[str] | None,
) -> dict[str, int | None]:
    counts = [0, 0, 0, 0]
    for language in {*corpus.languages, *clean}:
        read, manifest = corpus.languages.get(language), clean.get(language)
        if read is not None and manifest is not None and read.digest == manifest.digest:
            continue
        if read is not None and reader.manifest(read) is None:
            return dict.fromkeys(_COUNTS, None)
        before = _kept(reader.folder(read) if read else None, only)
        after = _kept(_folder(reader, manifest) if manifest else None, only)
        for index, (rows, against) in enumerate(((before, after), (after, before))):
            changed = rows.join(against, on="document_id", how="anti")
            counts[2 * index] += changed.height
            counts[2 * index + 1] += int(changed["num_tokens"].sum())
    return dict(zip(_COUNTS, counts, strict=True))


def _folder(reader: _Lake, manifest: shards.Manifest) -> str:
    return shards.join(reader.url, manifest.asset, manifest.partition, manifest.fingerprint)


def _kept(folder: str | None, only: Sequence[str] | None) -> pl.DataFrame:
    """The kept documents of a language's corpus; none without a folder."""
    if folder is None:
        return pl.DataFrame(schema={"document_id": pl.String, "num_tokens": pl.Int64})
    columns = ["document_id", "source", "kept", "num_tokens"]
    rows = pl.DataFrame(shards.read(folder, "decisions", columns=columns)).filter("kept")
    if only is not None:
        rows = rows.filter(pl.col("source").is_in(pl.Series(only, dtype=pl.String).implode()))
    return rows.select("document_id", "num_tokens")
