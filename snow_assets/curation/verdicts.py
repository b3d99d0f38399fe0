"""Rules, deduplication, decontamination and the split, joined into a verdict per document.

The order of reasons is that of the stages: a rule's, then `exact_duplicate` or `near_duplicate`,
then `contaminated` (it quotes a benchmark problem) or `benchmark_leak` (it holds one's program
under other names, or its description word by word: what the gate before packing refuses).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from snow_assets import shards
from snow_assets.curation.contamination_rule import GATE_METHODS
from snow_assets.curation.document_shards import DocumentShard, beside, document_shards
from snow_assets.curation.exemptions import exemption_of
from snow_assets.curation.rules import COLUMNS, rule_reason
from snow_assets.curation.split import HELD_OUT, TRAIN, held_out_repositories
from snow_assets.documents import DOCUMENT
from snow_assets.recipe import CurationRecipe

_WITHOUT_TEXT = [name for name in DOCUMENT.names if name != "text"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a document is kept; else the reason, and what shows it."""

    kept: bool
    reason: str | None
    evidence: str | None
    cluster_id: str | None
    split: str | None


@dataclass(frozen=True, kw_only=True)
class Curated:
    """The finished generations that verdicts are made from."""

    documents: Sequence[str]
    near_duplicates: str
    contamination: Sequence[str]
    source_order: Sequence[str] = ()  # the recipe's, in which sources decide over the split

    def shards(self, language: str | None = None) -> list[DocumentShard]:
        return document_shards(self.documents, language=language)


@dataclass
class Judge:
    """Gives verdicts, a shard of documents at a time. Memory: one shard's rows, without text."""

    curated: Curated
    recipe: CurationRecipe
    held_out: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        self.held_out = held_out_repositories(
            shards.read(self.curated.near_duplicates, "repositories"),
            share=self.recipe.held_out_share,
            tolerance=self.recipe.held_out_tolerance,
            seed=self.recipe.seed,
            source_order=self.curated.source_order,
        )
        self._clusters = beside([self.curated.near_duplicates], "clusters")
        self._hits = beside(self.curated.contamination, "hits")

    def verdicts(self, shard: DocumentShard) -> Iterator[tuple[dict[str, Any], Verdict]]:
        """Every document of a shard, in order, without its text, and what becomes of it."""
        clusters = {row["document_id"]: row for row in _rows(self._clusters, shard, "clusters")}
        evidence: dict[str, tuple[str, str]] = {}
        for hit in _rows(self._hits, shard, "hits"):
            shown = f"{hit['problem_id']} by {hit['method']}: {hit['evidence']}"
            reason = "benchmark_leak" if hit["method"] in GATE_METHODS else "contaminated"
            previous = evidence.get(hit["document_id"])
            if previous is None or (previous[0], reason) == ("benchmark_leak", "contaminated"):
                evidence[hit["document_id"]] = (reason, shown)
        for row in shard.read(_WITHOUT_TEXT).to_pylist():
            yield row, self._verdict(row, clusters.get(row["document_id"]), evidence)

    def _verdict(
        self,
        row: Mapping[str, Any],
        cluster: Mapping[str, Any] | None,
        contamination: Mapping[str, tuple[str, str]],
    ) -> Verdict:
        signals = {name: row[name] for name in COLUMNS}
        reason = rule_reason(signals, language=row["language"], rules=self.recipe.rules)
        evidence = None
        if reason is None:
            if cluster is None:
                raise ValueError(
                    f"document {row['document_id']} passes the rules and near_duplicates knows "
                    "nothing of it: materialize near_duplicates again with this recipe"
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
        return Verdict(
            kept=reason is None,
            reason=reason,
            evidence=evidence,
            cluster_id=cluster["cluster_id"] if cluster else None,
            split=split,
        )


def _rows(
    places: Mapping[str, tuple[str, str]], shard: DocumentShard, table: str
) -> list[dict[str, Any]]:
    if shard.key not in places:
        raise ValueError(
            f"no {table} stand beside {shard.key}: materialize them again, a source has changed"
        )
    read: list[dict[str, Any]] = shards.read_shard(*places[shard.key]).to_pylist()
    return read
