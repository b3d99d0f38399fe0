"""Stages of deduplication: signatures, pairs, and clusters of near duplicates over all sources."""

from typing import Any

from snow_assets.defs.documents import as_markdown, documents
from snow_assets.runtime.exchange.chosen import open_exchange
from snow_assets.stages import (
    CostModel,
    Input,
    Partitions,
    StageInputs,
    StageResult,
    StageRun,
    StageTable,
    always,
    stage,
)
from snow_assets.storage.schemas.curation import DUPLICATE_CLUSTER


def _signatures_config(inputs: StageInputs) -> Any:
    hashing = inputs.recipe.curation.near_duplicates
    return {
        "shingle_words": hashing.shingle_words,
        "bands": hashing.bands,
        "rows_per_band": hashing.rows_per_band,
    }


@stage(
    group="curation",
    code_version="1",
    inputs=(Input(stage=documents),),
    config=_signatures_config,
    partitions=Partitions.SOURCES,
    kinds={"parquet"},
    is_distributed=always,
    automation="always",
    cost=CostModel(stored_fraction=0.34),
)
def signatures(run: StageRun) -> StageResult:
    """MinHash bands and shingles of every text of a source, whatever the filters say of it."""
    from snow_assets.curation import asset_metadata
    from snow_assets.curation.dedup.signatures import put_signatures

    with open_exchange() as exchange:
        stats = put_signatures(
            run.input(documents).folder,
            run.folder,
            recipe=run.recipe.curation.near_duplicates,
            exchange=exchange,
        )
    return StageResult(stats=stats, metadata=as_markdown(asset_metadata.counts(stats)))


def _candidate_pairs_config(inputs: StageInputs) -> Any:
    curation = inputs.recipe.curation
    return {"filters": curation.filters, "bands": curation.near_duplicates.bands}


@stage(
    group="curation",
    code_version="1",
    inputs=(Input(stage=documents), Input(stage=signatures)),
    config=_candidate_pairs_config,
    kinds={"parquet"},
    is_distributed=always,
    automation="always",
    cost=CostModel(stored_fraction=0.004),
)
def candidate_pairs(run: StageRun) -> StageResult:
    """Pairs of texts, of all sources, that pass the filters and share a band of MinHash."""
    from snow_assets.curation import asset_metadata
    from snow_assets.curation.dedup.candidates import find_candidate_pairs

    with open_exchange() as exchange:
        stats = find_candidate_pairs(
            run.folders(documents),
            run.folders(signatures),
            run.folder,
            filters=run.recipe.curation.filters,
            recipe=run.recipe.curation.near_duplicates,
            exchange=exchange,
        )
    return StageResult(stats=stats, metadata=as_markdown(asset_metadata.counts(stats)))


def _verified_pairs_config(inputs: StageInputs) -> Any:
    return {"min_jaccard": inputs.recipe.curation.near_duplicates.min_jaccard}


@stage(
    group="curation",
    code_version="1",
    inputs=(Input(stage=signatures), Input(stage=candidate_pairs)),
    config=_verified_pairs_config,
    kinds={"parquet"},
    is_distributed=always,
    automation="always",
    cost=CostModel(stored_fraction=0.0014),
)
def verified_pairs(run: StageRun) -> StageResult:
    """Candidate pairs whose exact Jaccard similarity of shingles reaches the recipe's threshold."""
    from snow_assets.curation import asset_metadata
    from snow_assets.curation.dedup.verification import verify_pairs

    with open_exchange() as exchange:
        stats = verify_pairs(
            run.input(candidate_pairs).folder,
            run.folders(signatures),
            run.folder,
            min_jaccard=run.recipe.curation.near_duplicates.min_jaccard,
            exchange=exchange,
        )
    return StageResult(stats=stats, metadata=as_markdown(asset_metadata.counts(stats)))


def _near_duplicates_config(inputs: StageInputs) -> Any:
    return {"filters": inputs.recipe.curation.filters}


@stage(
    group="curation",
    code_version="5",
    inputs=(Input(stage=documents), Input(stage=verified_pairs)),
    config=_near_duplicates_config,
    tables=(StageTable(name="clusters", schema=DUPLICATE_CLUSTER),),
    kinds={"parquet"},
    is_distributed=always,
    automation="always",
    cost=CostModel(stored_fraction=0.008),
)
def near_duplicates(run: StageRun) -> StageResult:
    """Exact and near duplicates over all sources, and the canonical document of each cluster."""
    from snow_assets.curation import asset_metadata
    from snow_assets.curation.dedup.canonical_documents import put_clusters

    with open_exchange() as exchange:
        stats = put_clusters(
            run.folders(documents),
            run.input(verified_pairs).folder,
            run.folder,
            filters=run.recipe.curation.filters,
            exchange=exchange,
        )
        metadata = asset_metadata.clusters(run.folder, stats, exchange=exchange)
    return StageResult(stats=stats, metadata=as_markdown(metadata))
