"""Stages of curation behind documents and duplicates: contamination, a tokenizer, clean corpora."""

from typing import TYPE_CHECKING, Any

from snow_assets.defs.corpus import benchmark_problems
from snow_assets.defs.dedup import near_duplicates
from snow_assets.defs.documents import as_markdown, documents
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
    always,
    stage,
)
from snow_assets.storage import shards
from snow_assets.storage.schemas.curation import CONTAMINATION, DECISION, HELD_OUT_REPOSITORY

if TYPE_CHECKING:
    from snow_assets.curation.decisions import CurationInputs


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
    from snow_assets.curation import asset_metadata
    from snow_assets.curation.split import put_held_out_repositories

    stats = put_held_out_repositories(
        run.input(near_duplicates).folder,
        run.folder,
        recipe=run.recipe.curation,
        source_order=_source_order(run.recipe),
    )
    return StageResult(stats=stats, metadata=as_markdown(asset_metadata.counts(stats)))


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
    is_distributed=always,
    automation="always",
    cost=CostModel(stored_fraction=0.001),
)
def contamination(run: StageRun) -> StageResult:
    """Documents that quote a benchmark problem, with what they quote."""
    from snow_assets.curation import asset_metadata
    from snow_assets.curation.decontamination.prefilter import find_contamination

    with open_exchange() as exchange:
        stats = find_contamination(
            run.input(documents).folder,
            run.folder,
            problems=shards.read(run.input(benchmark_problems).folder, "problems"),
            recipe=run.recipe.curation.contamination,
            exchange=exchange,
        )
    return StageResult(stats=stats, metadata=as_markdown(asset_metadata.hits(run.folder, stats)))


def gate_config(recipe: Recipe) -> dict[str, Any]:
    """What the contamination gate before packing, training and synthesis depends on."""
    return {
        "gate_window_tokens": recipe.curation.contamination.gate_window_tokens,
        "contamination_exemptions": recipe.curation.contamination_exemptions,
    }


def _curated(run: StageRun) -> "CurationInputs":
    """What the decisions over documents are made from."""
    from snow_assets.curation.decisions import CurationInputs

    return CurationInputs(
        documents=run.folders(documents),
        near_duplicates=run.input(near_duplicates).folder,
        held_out_repositories=run.input(held_out_repositories).folder,
        contamination=run.folders(contamination),
    )


def _trains_tokenizer(recipe: Recipe) -> bool:
    return not recipe.curation.tokenizer.pretrained


def _tokenizer_config(inputs: StageInputs) -> Any:
    from snow_assets.curation.tokenizer.training import tokenizer_settings

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
    is_distributed=_trains_tokenizer,
    automation="always",
    holds_text=False,
    cost=CostModel(stored_fraction=None),
)
def tokenizer(run: StageRun) -> StageResult:
    """The tokenizer of every later stage: the recipe's, or one trained on kept train documents."""
    from snow_assets.curation import asset_metadata
    from snow_assets.curation.tokenizer.training import (
        put_pretrained_tokenizer,
        put_trained_tokenizer,
    )

    curation = run.recipe.curation
    if curation.tokenizer.pretrained:
        stats = put_pretrained_tokenizer(
            curation.tokenizer.pretrained, run.folder, vocab_size=curation.tokenizer.vocab_size
        )
    else:
        with open_exchange() as exchange:
            stats = put_trained_tokenizer(
                _curated(run), run.folder, recipe=curation, exchange=exchange
            )
    return StageResult(stats=stats, metadata=as_markdown(asset_metadata.counts(stats)))


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
    is_distributed=always,
    automation="always",
    cost=CostModel(stored_fraction=0.014),
)
def clean_corpus(run: StageRun) -> StageResult:
    """Every document of a language, kept or not and why, in train or held out, with its tokens."""
    from snow_assets.curation import asset_metadata
    from snow_assets.curation.clean import artifacts_with_token_counts, decide

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
    return StageResult(stats=stats, metadata=as_markdown(asset_metadata.funnel(run.folder, stats)))


@stage(
    group="curation",
    code_version="3",
    inputs=(Input(stage=clean_corpus),),
    partitions=Partitions.LANGUAGES,
    kinds={"huggingface"},
    automation="always",
    cost=CostModel(stored_fraction=0.15),
)
def dataset_exports(run: StageRun) -> StageResult:
    """The clean corpus of a language as a data set folder, with data card and attribution."""
    from snow_assets.curation.export import export_clean

    clean = run.input(clean_corpus)
    return StageResult(stats=export_clean(clean.folder, run.folder, language=run.partition))
