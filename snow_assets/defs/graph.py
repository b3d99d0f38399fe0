"""The recipe's graph: every stage, each after the stages that it reads."""

from dataclasses import replace

from snow_assets.defs import (
    corpus,
    curation,
    dedup,
    documents,
    evaluation,
    experiments,
    pretraining,
    quality,
    selection,
    synthesis,
)
from snow_assets.recipe import chosen_recipe
from snow_assets.stages import Stage
from snow_assets.storage import shards


def _annotator_stages(*, is_selecting: bool) -> tuple[Stage, ...]:
    """Of the recipe's further annotators that select, or of those that do not."""
    return tuple(
        stage
        for stages in quality.FURTHER_ANNOTATORS.values()
        if stages.selects(chosen_recipe()) == is_selecting
        for stage in (stages.examples, stages.annotator, stages.scores)
    )


STAGES: tuple[Stage, ...] = (
    corpus.opt_outs,
    corpus.benchmark_problems,
    corpus.exemplars,
    corpus.raw_code_corpus,
    documents.documents,
    dedup.signatures,
    dedup.candidate_pairs,
    dedup.verified_pairs,
    dedup.near_duplicates,
    curation.held_out_repositories,
    curation.contamination,
    curation.tokenizer,
    curation.clean_corpus,
    curation.dataset_exports,
    quality.graded_texts,
    quality.annotator_examples,
    quality.quality_annotator,
    quality.quality_scores,
    *_annotator_stages(is_selecting=True),
    selection.high_quality_subset,
    selection.high_quality_dataset,
    synthesis.teacher_model,
    synthesis.synthetic_completions,
    synthesis.synthetic_set,
    synthesis.synthetic_dataset,
    *pretraining.PACKS.values(),
    *pretraining.CHECKPOINTS.values(),
    evaluation.benchmark_results,
    *_annotator_stages(is_selecting=False),  # after what the recipe trains
    experiments.experiment_arms,
    experiments.experiment_comparisons,
)
RECIPE_STAGES = tuple(stage for stage in STAGES if stage.group != "experiments")
"""What makes the recipe's model; an experiment is started by its name."""

_FURTHER = quality.annotator_stages("_")
FURTHER_STAGES = (_FURTHER.examples, _FURTHER.annotator, _FURTHER.scores)
"""Like the stages of any further annotator, whose name takes the place of the first underscore."""

STAGE_BY_NAME = {stage.name: stage for stage in STAGES}


def stage_of(asset: str) -> Stage | None:
    """The stage of an asset in the lake; None if no recipe has such a stage.

    Packs and checkpoints of phases, and stages of further annotators, that only other recipes have
    are like this recipe's.
    """
    if asset in STAGE_BY_NAME:
        return STAGE_BY_NAME[asset]
    for kind, stages in (("packs", pretraining.PACKS), ("checkpoint", pretraining.CHECKPOINTS)):
        if asset.endswith(f"_{kind}"):
            return replace(next(iter(stages.values())), name=asset)
    for stage in FURTHER_STAGES:
        if asset.endswith(stage.name[1:]):
            return replace(stage, name=asset)
    return None


def stages_in(lake: str) -> tuple[Stage, ...]:
    """The recipe's stages, and those of other recipes' phases with artifacts in the lake."""
    assets = [name for name in shards.names(lake) if name not in STAGE_BY_NAME]
    return (*STAGES, *(stage for name in assets if (stage := stage_of(name)) is not None))
