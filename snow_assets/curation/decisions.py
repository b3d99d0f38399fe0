"""Join filters, deduplication, decontamination and the split into a decision per document.

The order of reasons is that of the stages: a filter's, then `exact_duplicate` or `near_duplicate`,
then `contaminated` (text overlap with a benchmark problem) or `benchmark_leak` (a problem's program
with renamed identifiers, or its description word by word: what the gate before packing refuses).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from snow_assets.curation.decontamination.exemptions import exemption_of
from snow_assets.curation.decontamination.rule import GATE_METHODS
from snow_assets.curation.document_shards import DocumentShard, co_partitioned, document_shards
from snow_assets.curation.filters.heuristics import COLUMNS, filter_reason
from snow_assets.curation.split import HELD_OUT, TRAIN, held_out_repositories
from snow_assets.recipe import CurationRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas import DOCUMENT

_COLUMNS_WITHOUT_TEXT = [name for name in DOCUMENT.names if name != "text"]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Whether a document is kept; if not, the filter reason and the evidence."""

    kept: bool
    reason: str | None
    evidence: str | None
    cluster_id: str | None
    split: str | None


@dataclass(frozen=True, kw_only=True)
class CurationInputs:
    """The finished artifacts that decisions are computed from."""

    documents: Sequence[str]
    near_duplicates: str
    contamination: Sequence[str]
    source_order: Sequence[str] = ()  # the recipe's, in which sources are split

    def shards(self, language: str | None = None) -> list[DocumentShard]:
        return document_shards(self.documents, language=language)


@dataclass
class DocumentSelector:
    """Compute decisions, a shard of documents at a time. Memory: a shard's rows without text."""

    inputs: CurationInputs
    recipe: CurationRecipe
    held_out: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.held_out = held_out_repositories(
            shards.read(self.inputs.near_duplicates, "repositories"),
            share=self.recipe.held_out_share,
            tolerance=self.recipe.held_out_tolerance,
            seed=self.recipe.seed,
            source_order=self.inputs.source_order,
        )
        self._clusters = co_partitioned([self.inputs.near_duplicates], "clusters")
        self._hits = co_partitioned(self.inputs.contamination, "hits")

    def decisions(self, shard: DocumentShard) -> Iterator[tuple[dict[str, Any], Decision]]:
        """Each document of a shard, in order and without text, and its decision."""
        clusters = {row["document_id"]: row for row in _rows(self._clusters, shard, "clusters")}
        evidence: dict[str, tuple[str, str]] = {}
        for hit in _rows(self._hits, shard, "hits"):
            hit_evidence = f"{hit['problem_id']} by {hit['method']}: {hit['evidence']}"
            reason = "benchmark_leak" if hit["method"] in GATE_METHODS else "contaminated"
            previous = evidence.get(hit["document_id"])
            if previous is None or (previous[0], reason) == ("benchmark_leak", "contaminated"):
                evidence[hit["document_id"]] = (reason, hit_evidence)
        for row in shard.read(_COLUMNS_WITHOUT_TEXT).to_pylist():
            yield row, self._decision(row, clusters.get(row["document_id"]), evidence)

    def _decision(
        self,
        row: Mapping[str, Any],
        cluster: Mapping[str, Any] | None,
        contamination: Mapping[str, tuple[str, str]],
    ) -> Decision:
        signals = {name: row[name] for name in COLUMNS}
        reason = filter_reason(signals, language=row["language"], rules=self.recipe.rules)
        evidence = None
        if reason is None:
            if cluster is None:
                raise ValueError(
                    f"document {row['document_id']} passes the filters and has no cluster: "
                    "materialize near_duplicates again with this recipe"
                )
            if not cluster["is_survivor"]:
                reason = f"{cluster['kind']}_duplicate"
                evidence = f"of {cluster['cluster_id']}, Jaccard {cluster['jaccard']:.3f}"
            elif row["document_id"] in contamination:
                reason, evidence = contamination[row["document_id"]]
                exemption = exemption_of(row, self.recipe.contamination_exemptions)
                if exemption is not None:
                    reason, evidence = None, f"exempt ({exemption.reason}): {evidence}"
        split = None
        if reason is None:
            split = HELD_OUT if row["repository"] in self.held_out else TRAIN
        return Decision(
            kept=reason is None,
            reason=reason,
            evidence=evidence,
            cluster_id=cluster["cluster_id"] if cluster else None,
            split=split,
        )


def _rows(
    shard_names: Mapping[str, tuple[str, str]], shard: DocumentShard, table: str
) -> list[dict[str, Any]]:
    if shard.key not in shard_names:
        raise ValueError(
            f"{shard.key} has no {table}: a source has changed, materialize them again"
        )
    rows: list[dict[str, Any]] = shards.read_shard(*shard_names[shard.key]).to_pylist()
    return rows
