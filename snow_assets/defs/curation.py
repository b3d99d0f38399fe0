"""Stages of curation: documents, duplicates, contamination, a tokenizer, clean corpora."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from snow_assets.curation import asset_metadata
from snow_assets.curation.clean import artifacts_with_token_counts, decide
from snow_assets.curation.decisions import CurationInputs
from snow_assets.curation.decontamination.prefilter import find_contamination
from snow_assets.curation.export import export_clean
from snow_assets.curation.prepare import prepare
from snow_assets.curation.split import put_held_out_repositories
from snow_assets.curation.tokenizer.training import (
    put_pretrained_tokenizer,
    put_trained_tokenizer,
    tokenizer_settings,
)
from snow_assets.defs.corpus import benchmark_problems, raw_code_corpus
from snow_assets.plots import Plot
from snow_assets.recipe import Recipe
from snow_assets.runtime.exchange.chosen import open_exchange
from snow_assets.stages import (
    CostModel,
    Input,
    Partitions,
    StageInputs,
    StageResult,
    StageRun,
    StageTable,
    stage,
)
from snow_assets.storage import shards
from snow_assets.storage.schemas import (
    CONTAMINATION,
    DECISION,
    DOCUMENT,
    DROP,
    DUPLICATE_CLUSTER,
    HELD_OUT_REPOSITORY,
    SIGNALS,
)


def _markdown(entries: Mapping[str, str | Plot]) -> dict[str, Any]:
    return {
        name: entry if isinstance(entry, Plot) else dg.MetadataValue.md(entry)
        for name, entry in entries.items()
    }


def _documents_config(inputs: StageInputs) -> Any:
    curation = inputs.recipe.curation
    return {
        "languages": curation.languages,
        "signals": [field.name for field in SIGNALS],
        # Whether Python parses is expensive to find out: only where a filter needs it.
        "with_parses": curation.filters.drop_unparsable,
    }


@stage(
    group="curation",
    code_version="4",
    inputs=(Input(stage=raw_code_corpus),),
    config=_documents_config,
    partitions=Partitions.SOURCES,
    tables=(
        StageTable(name="documents", schema=DOCUMENT, repository_column="repository"),
        StageTable(name="drops", schema=DROP),
    ),
    kinds={"parquet"},
    is_distributed=True,
    automation="always",
    cost=CostModel(stored_fraction=0.24),
)
def documents(run: StageRun) -> StageResult:
    """Text of every file in the recipe's languages, secrets redacted, with its signals beside it.

    No threshold has been applied: `clean_corpus` says which documents are kept, and why.
    """
    with open_exchange() as exchange:
        stats = prepare(
            run.input(raw_code_corpus).folder,
            run.folder,
            languages=run.recipe.curation.languages,
            with_parses=run.recipe.curation.filters.drop_unparsable,
            exchange=exchange,
        )
    return StageResult(stats=stats, metadata=_markdown(asset_metadata.counts(stats)))


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
    is_distributed=True,
    automation="always",
    cost=CostModel(stored_fraction=0.34),
)
def signatures(run: StageRun) -> StageResult:
    """MinHash bands and shingles of every text of a source, whatever the filters say of it."""
    from snow_assets.curation.dedup.signatures import put_signatures

    with open_exchange() as exchange:
        stats = put_signatures(
            run.input(documents).folder,
            run.folder,
            recipe=run.recipe.curation.near_duplicates,
            exchange=exchange,
        )
    return StageResult(stats=stats, metadata=_markdown(asset_metadata.counts(stats)))


def _candidate_pairs_config(inputs: StageInputs) -> Any:
    curation = inputs.recipe.curation
    return {"filters": curation.filters, "bands": curation.near_duplicates.bands}


@stage(
    group="curation",
    code_version="1",
    inputs=(Input(stage=documents), Input(stage=signatures)),
    config=_candidate_pairs_config,
    kinds={"parquet"},
    is_distributed=True,
    automation="always",
    cost=CostModel(stored_fraction=0.004),
)
def candidate_pairs(run: StageRun) -> StageResult:
    """Pairs of texts, of all sources, that pass the filters and share a band of MinHash."""
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
    return StageResult(stats=stats, metadata=_markdown(asset_metadata.counts(stats)))


def _verified_pairs_config(inputs: StageInputs) -> Any:
    return {"min_jaccard": inputs.recipe.curation.near_duplicates.min_jaccard}


@stage(
    group="curation",
    code_version="1",
    inputs=(Input(stage=signatures), Input(stage=candidate_pairs)),
    config=_verified_pairs_config,
    kinds={"parquet"},
    is_distributed=True,
    automation="always",
    cost=CostModel(stored_fraction=0.0014),
)
def verified_pairs(run: StageRun) -> StageResult:
    """Candidate pairs whose exact Jaccard similarity of shingles reaches the recipe's threshold."""
    from snow_assets.curation.dedup.verification import verify_pairs

    with open_exchange() as exchange:
        stats = verify_pairs(
            run.input(candidate_pairs).folder,
            run.folders(signatures),
            run.folder,
            min_jaccard=run.recipe.curation.near_duplicates.min_jaccard,
            exchange=exchange,
        )
    return StageResult(stats=stats, metadata=_markdown(asset_metadata.counts(stats)))


def _near_duplicates_config(inputs: StageInputs) -> Any:
    return {"filters": inputs.recipe.curation.filters}


@stage(
    group="curation",
    code_version="4",
    inputs=(Input(stage=documents), Input(stage=verified_pairs)),
    config=_near_duplicates_config,
    tables=(StageTable(name="clusters", schema=DUPLICATE_CLUSTER),),
    kinds={"parquet"},
    is_distributed=True,
    automation="always",
    cost=CostModel(stored_fraction=0.008),
)
def near_duplicates(run: StageRun) -> StageResult:
    """Exact and near duplicates over all sources, and the canonical document of each cluster."""
    from snow_assets.curation.dedup.canonical_documents import put_clusters

    with open_exchange() as exchange:
        stats = put_clusters(
            run.folders(documents),
            run.input(verified_pairs).folder,
            run.folder,
            filters=run.recipe.curation.filters,
            exchange=exchange,
        )
    return StageResult(stats=stats, metadata=_markdown(asset_metadata.clusters(run.folder, stats)))


def _held_out_config(inputs: StageInputs) -> Any:
    curation = inputs.recipe.curation
    return {
        "held_out_fraction": curation.held_out_fraction,
        "held_out_tolerance": curation.held_out_tolerance,
        "source_order": _source_order(inputs.recipe),
        "seed": curation.seed,
    }


def _source_order(recipe: Recipe) -> list[str]:
    return [source.name for source in recipe.corpus.sources]


@stage(
    group="curation",
    code_version="1",
    inputs=(Input(stage=near_duplicates),),
    config=_held_out_config,
    tables=(
        StageTable(
            name="repositories",
            schema=HELD_OUT_REPOSITORY,
            repository_column="repository",
            is_dbt_source=False,
        ),
    ),
    kinds={"parquet"},
    automation="always",
    holds_text=False,
    cost=CostModel(stored_fraction=0.0001),
)
def held_out_repositories(run: StageRun) -> StageResult:
    """The repositories of all sources whose documents are held out, by language."""
    stats = put_held_out_repositories(
        run.input(near_duplicates).folder,
        run.folder,
        recipe=run.recipe.curation,
        source_order=_source_order(run.recipe),
    )
    return StageResult(stats=stats, metadata=_markdown(asset_metadata.counts(stats)))


def _contamination_config(inputs: StageInputs) -> Any:
    thresholds = inputs.recipe.curation.contamination
    return {
        "ngram_words": thresholds.ngram_words,
        "min_ngram_chars": thresholds.min_ngram_chars,
        "min_substring_chars": thresholds.min_substring_chars,
        "gate_window_tokens": thresholds.gate_window_tokens,
    }


@stage(
    group="curation",
    code_version="2",
    inputs=(Input(stage=documents), Input(stage=benchmark_problems)),
    config=_contamination_config,
    partitions=Partitions.SOURCES,
    tables=(StageTable(name="hits", schema=CONTAMINATION),),
    kinds={"parquet"},
    is_distributed=True,
    automation="always",
    cost=CostModel(stored_fraction=0.001),
)
def contamination(run: StageRun) -> StageResult:
    """Documents that quote a benchmark problem, with what they quote."""
    with open_exchange() as exchange:
        stats = find_contamination(
            run.input(documents).folder,
            run.folder,
            problems=shards.read(run.input(benchmark_problems).folder, "problems"),
            recipe=run.recipe.curation.contamination,
            exchange=exchange,
        )
    return StageResult(stats=stats, metadata=_markdown(asset_metadata.hits(run.folder, stats)))


def gate_config(recipe: Recipe) -> dict[str, Any]:
    """What the contamination gate before packing, training and synthesis depends on."""
    return {
        "gate_window_tokens": recipe.curation.contamination.gate_window_tokens,
        "contamination_exemptions": recipe.curation.contamination_exemptions,
    }


def _curated(run: StageRun) -> CurationInputs:
    """What the decisions over documents are made from."""
    return CurationInputs(
        documents=run.folders(documents),
        near_duplicates=run.input(near_duplicates).folder,
        held_out_repositories=run.input(held_out_repositories).folder,
        contamination=run.folders(contamination),
    )


def _trains_tokenizer(recipe: Recipe) -> bool:
    return not recipe.curation.tokenizer.pretrained


def _tokenizer_config(inputs: StageInputs) -> Any:
    return tokenizer_settings(inputs.recipe.curation)


@stage(
    group="curation",
    code_version="2",
    inputs=(
        Input(stage=documents, applies=_trains_tokenizer),
        Input(stage=near_duplicates, applies=_trains_tokenizer),
        Input(stage=held_out_repositories, applies=_trains_tokenizer),
        Input(stage=contamination, applies=_trains_tokenizer),
    ),
    config=_tokenizer_config,
    kinds={"huggingface"},
    automation="always",
    holds_text=False,
    cost=CostModel(stored_fraction=None),
)
def tokenizer(run: StageRun) -> StageResult:
    """The tokenizer of every later stage: the recipe's, or one trained on kept train documents."""
    curation = run.recipe.curation
    if curation.tokenizer.pretrained:
        stats = put_pretrained_tokenizer(
            curation.tokenizer.pretrained, run.folder, vocab_size=curation.tokenizer.vocab_size
        )
    else:
        stats = put_trained_tokenizer(_curated(run), run.folder, recipe=curation)
    return StageResult(stats=stats, metadata=_markdown(asset_metadata.counts(stats)))


def _clean_config(inputs: StageInputs) -> Any:
    curation = inputs.recipe.curation
    return {
        "filters": curation.filters,
        "contamination_exemptions": curation.contamination_exemptions,
    }


@stage(
    group="curation",
    code_version="3",
    inputs=(
        Input(stage=documents),
        Input(stage=near_duplicates),
        Input(stage=held_out_repositories),
        Input(stage=contamination),
        Input(stage=tokenizer),
    ),
    config=_clean_config,
    partitions=Partitions.LANGUAGES,
    tables=(StageTable(name="decisions", schema=DECISION),),
    kinds={"parquet"},
    is_distributed=True,
    automation="always",
    cost=CostModel(stored_fraction=0.014),
)
def clean_corpus(run: StageRun) -> StageResult:
    """Every document of a language, kept or not and why, in train or held out, with its tokens."""
    counter = run.input(tokenizer)
    earlier = run.lake.partition(run.stage.name, run.partition)
    with open_exchange() as exchange:
        stats = decide(
            run.partition,
            _curated(run),
            counter.folder,
            run.folder,
            recipe=run.recipe.curation,
            earlier=artifacts_with_token_counts(earlier, counter.digest),
            exchange=exchange,
        )
    return StageResult(stats=stats, metadata=_markdown(asset_metadata.funnel(run.folder, stats)))


@stage(
    group="curation",
    code_version="2",
    inputs=(Input(stage=clean_corpus),),
    partitions=Partitions.LANGUAGES,
    kinds={"huggingface"},
    automation="always",
    cost=CostModel(stored_fraction=0.15),
)
def dataset_exports(run: StageRun) -> StageResult:
    """The clean corpus of a language as a data set folder, with data card and attribution."""
    clean = run.input(clean_corpus)
    return StageResult(stats=export_clean(clean.folder, run.folder, language=run.partition))
