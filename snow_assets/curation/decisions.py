"""Join filters, deduplication, decontamination and the split into a decision per document.

The order of reasons is that of the stages: a filter's, then `exact_duplicate` or `near_duplicate`,
then `contaminated` (text overlap with a benchmark problem) or `benchmark_leak` (a problem's program
with renamed identifiers, or its description word by word: what the gate before packing refuses).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from snow_assets.curation.decontamination.exemptions import exemption_reason
from snow_assets.curation.decontamination.rule import GATE_METHODS
from snow_assets.curation.document_shards import DocumentShard, co_partitioned, document_shards
from snow_assets.curation.filters.heuristics import COLUMNS, filter_reason
from snow_assets.curation.split import HELD_OUT, TRAIN, read_held_out
from snow_assets.recipe import CurationRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import DECISION, DOCUMENT

_DOCUMENT_COLUMNS = [name for name in DOCUMENT.names if name in {*DECISION.names, *COLUMNS}]


@dataclass(frozen=True, kw_only=True)
class CurationInputs:
    """The finished artifacts that decisions are computed from."""

    documents: Sequence[str]
    near_duplicates: str
    held_out_repositories: str
    contamination: Sequence[str]

    def shards(self, language: str | None = None) -> list[DocumentShard]:
        return document_shards(self.documents, language=language)


@dataclass
class DocumentSelector:
    """Compute decisions, a shard of documents at a time.

    Memory: a shard's rows without text, and the names of the held-out repositories.
    """

    inputs: CurationInputs
    recipe: CurationRecipe
    language: str | None = None  # of the shards; None: of all languages
    held_out: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.held_out = read_held_out(self.inputs.held_out_repositories, language=self.language)
        self._clusters = co_partitioned([self.inputs.near_duplicates], "clusters")
        self._hits = co_partitioned(self.inputs.contamination, "hits")

    def decisions(self, shard: DocumentShard) -> pl.DataFrame:
        """A row per document of a shard, in order: DECISION's columns but `num_tokens`.

        ValueError if a document that passes the filters has no cluster.
        """
        documents = pl.DataFrame(shard.read(_DOCUMENT_COLUMNS))
        clusters = _co_partitioned_rows(self._clusters, shard, "clusters")
        hits = _co_partitioned_rows(self._hits, shard, "hits")
        rows = (
            documents.join(clusters, on="document_id", how="left", maintain_order="left")
            .join(_evidence(hits), on="document_id", how="left", maintain_order="left")
            .with_columns(
                filter_reason(shard.language, self.recipe.filters).alias("filter"),
                exemption_reason(self.recipe.contamination_exemptions).alias("exemption"),
                pl.Series("split", map(self._split, documents["repository"]), pl.String),
            )
        )
        is_unclustered = pl.col("filter").is_null() & pl.col("is_canonical").is_null()
        for name in rows.filter(is_unclustered)["document_id"]:
            raise ValueError(
                f"document {name} passes the filters and has no cluster: materialize "
                "near_duplicates again with this recipe"
            )
        # A format is null where one of its columns is: `kind` of the canonical documents.
        jaccard = pl.col("jaccard").map_elements("{:.3f}".format, return_dtype=pl.String)
        duplicate = pl.format("of {}, Jaccard {}", "cluster_id", jaccard)
        exempt = pl.format("exempt ({}): {}", "exemption", "hit_evidence")
        return rows.with_columns(
            reason=pl.coalesce(
                "filter",
                pl.format("{}_duplicate", "kind"),
                pl.when(pl.col("exemption").is_null()).then("hit_reason"),
            ),
            evidence=pl.when(pl.col("filter").is_null()).then(
                pl.coalesce(
                    pl.when(pl.col("kind").is_not_null()).then(duplicate), exempt, "hit_evidence"
                )
            ),
        ).with_columns(
            kept=pl.col("reason").is_null(), split=pl.when(pl.col("reason").is_null()).then("split")
        )

    def _split(self, repository: str) -> str:
        return HELD_OUT if repository in self.held_out else TRAIN


def _evidence(hits: pl.DataFrame) -> pl.DataFrame:
    """A row per document with hits: `hit_reason` and `hit_evidence` of the first hit, of the first
    `contaminated` one if there is one."""
    is_gate_hit = pl.col("method").is_in(GATE_METHODS)
    return (
        hits.sort(is_gate_hit, maintain_order=True)
        .unique("document_id", keep="first")
        .select(
            "document_id",
            hit_reason=pl.when(is_gate_hit)
            .then(pl.lit("benchmark_leak"))
            .otherwise(pl.lit("contaminated")),
            hit_evidence=pl.format("{} by {}: {}", "problem_id", "method", "evidence"),
        )
    )


def _co_partitioned_rows(
    shard_names: Mapping[str, tuple[str, str]], shard: DocumentShard, table: str
) -> pl.DataFrame:
    if shard.key not in shard_names:
        raise ValueError(
            f"{shard.key} has no {table}: a source has changed, materialize them again"
        )
    return pl.DataFrame(shards.read_shard(*shard_names[shard.key]))
