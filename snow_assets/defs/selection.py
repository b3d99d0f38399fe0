"""Stages of quality behind the scores: which files are selected, and data sets of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from snow_assets.defs.curation import clean_corpus
from snow_assets.defs.quality import (
    FURTHER_ANNOTATORS,
    OWN_ANNOTATOR,
    AnnotatorStages,
    selecting_stages,
)
from snow_assets.recipe import Recipe
from snow_assets.recipe.data import selection_values
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
from snow_assets.storage.schemas.quality import (
    LANGUAGE_SELECTION,
    SELECTION,
)

if TYPE_CHECKING:
    from snow_assets.quality.selection import LanguageGates


def _language_tokens(inputs: StageInputs) -> Mapping[str, int]:
    from snow_assets.quality.stats import train_tokens

    return train_tokens({clean.partition: clean.folder for clean in inputs.inputs(clean_corpus)})


def _budget_tokens(recipe: Recipe) -> float:
    return recipe.selection.budget_tokens


def _language_gates(inputs: StageInputs) -> "LanguageGates":
    from snow_assets.quality.gate import read_annotator
    from snow_assets.quality.selection import LanguageGates

    recipe = inputs.recipe
    annotator = read_annotator(inputs.input(selecting_stages(recipe).annotator).folder)
    return LanguageGates.of(annotator, recipe.selection, recipe.curation.languages)


def _subset_config(inputs: StageInputs) -> Any:
    recipe = inputs.recipe
    language_tokens = _language_tokens(inputs)
    if not inputs.input(selecting_stages(recipe).annotator).is_pending:
        language_tokens = _language_gates(inputs).selected_tokens(language_tokens)
    return {"selection": selection_values(recipe.selection), "language_tokens": language_tokens}


def selecting_inputs(stages: AnnotatorStages) -> tuple[Input, Input]:
    """What a subset reads of an annotator that the recipe selects by."""
    return (
        Input(stage=stages.scores, applies=stages.selects),
        Input(stage=stages.annotator, applies=stages.selects),
    )


@stage(
    group="quality",
    code_version="2",
    inputs=(
        Input(stage=clean_corpus),
        *(
            read
            for stages in (OWN_ANNOTATOR, *FURTHER_ANNOTATORS.values())
            for read in selecting_inputs(stages)
        ),
        # The budget is shared out by the languages' tokens, which are part of the config.
        Input(stage=clean_corpus, all_partitions=True, is_fingerprinted=False),
    ),
    config=_subset_config,
    partitions=Partitions.LANGUAGES,
    tables=(
        StageTable(name="documents", schema=SELECTION, repository_column="repository"),
        StageTable(name="languages", schema=LANGUAGE_SELECTION),
    ),
    kinds={"parquet"},
    is_distributed=always,
    automation="always",
    cost=CostModel(output_tokens=_budget_tokens),
)
def high_quality_subset(run: StageRun) -> StageResult:
    """Every trainable file of a language, ranked, and how often the recipe repeats it."""
    from snow_assets.quality import asset_metadata, selection

    with open_exchange() as exchange:
        stats = selection.write(
            run.folder,
            clean_folder=run.input(clean_corpus).folder,
            scores_folder=run.input(selecting_stages(run.recipe).scores).folder,
            language=run.partition,
            language_tokens=_language_tokens(run),
            gates=_language_gates(run),
            recipe=run.recipe.selection,
            exchange=exchange,
        )
    metadata = {
        "counts": dg.MetadataValue.md(asset_metadata.counts_table(stats)),
        "curve": asset_metadata.selection_curve(run.folder),
        "best": dg.MetadataValue.md(asset_metadata.best_documents(run.folder, rows=20)),
    }
    return StageResult(stats=stats, metadata=metadata)


@stage(
    group="quality",
    code_version="2",
    inputs=(Input(stage=clean_corpus), Input(stage=high_quality_subset)),
    partitions=Partitions.LANGUAGES,
    kinds={"huggingface"},
    automation="always",
    cost=CostModel(output_tokens=_budget_tokens),
)
def high_quality_dataset(run: StageRun) -> StageResult:
    """The selected files of a language as a data set folder, with data card and attribution."""
    from snow_assets.quality.export import export_selected

    stats = export_selected(
        run.input(clean_corpus).folder,
        run.input(high_quality_subset).folder,
        run.folder,
        language=run.partition,
    )
    return StageResult(stats=stats)
