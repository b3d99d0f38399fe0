"""Stages of pretraining: the packs of each phase, and the chained checkpoints."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from snow_assets.curation.tokenizer.tokens import load_tokenizer
from snow_assets.defs.corpus import benchmark_problems
from snow_assets.defs.curation import clean_corpus, gate_config, tokenizer
from snow_assets.defs.quality import high_quality_subset
from snow_assets.defs.synthesis import synthetic_set
from snow_assets.pretraining import gates
from snow_assets.pretraining.asset_metadata import language_table, loss_curve
from snow_assets.pretraining.checkpoint_stats import (
    finish_checkpoint,
    repositories_table,
    tokens_per_second,
)
from snow_assets.pretraining.contract import PretrainingReport, PretrainingRequest, optimization
from snow_assets.pretraining.packs import pack
from snow_assets.pretraining.sources import (
    LanguageSource,
    continued_sources,
    enhanced_sources,
    general_sources,
)
from snow_assets.recipe import PHASES, ModelRecipe, PhaseRecipe, Recipe
from snow_assets.runtime import worker
from snow_assets.stages import (
    CostModel,
    Input,
    Stage,
    StageInputs,
    StageResult,
    StageRun,
    StageTable,
    stage,
)
from snow_assets.storage import shards
from snow_assets.storage.schemas import SEEN
from snow_assets.storage.sizes import Size
from snow_resources.gpu_jobs import JobSize
from snow_resources.tracking import TrackedModel


def phase_recipe(recipe: Recipe, phase: str) -> PhaseRecipe:
    values: PhaseRecipe = getattr(recipe.pretraining, phase)
    return values


def _benchmarks(run: StageRun) -> gates.Benchmarks:
    return gates.Benchmarks(
        problems=shards.read(run.input(benchmark_problems).folder, "problems"),
        window_tokens=run.recipe.curation.contamination.gate_window_tokens,
        exemptions=run.recipe.curation.contamination_exemptions,
    )


def _general_sources(run: StageRun, phase: PhaseRecipe) -> list[LanguageSource]:
    clean = run.folders(clean_corpus)
    sources = general_sources(clean, max_passes=phase.max_passes)
    gates.assert_trainable_documents(sources, clean, _benchmarks(run))
    return sources


def _continued_sources(run: StageRun, phase: PhaseRecipe) -> list[LanguageSource]:
    clean, subset = run.folders(clean_corpus), run.folders(high_quality_subset)
    sources = continued_sources(clean, subset, max_passes=phase.max_passes)
    gates.assert_trainable_documents(sources, clean, _benchmarks(run))
    return sources


def _enhanced_sources(run: StageRun, phase: PhaseRecipe) -> list[LanguageSource]:
    synthetic, clean = run.input(synthetic_set).folder, run.folders(clean_corpus)
    sources = enhanced_sources(synthetic, max_passes=phase.max_passes)
    gates.assert_trainable_synthetic_documents(sources, synthetic, clean, _benchmarks(run))
    return sources


@dataclass(frozen=True)
class PhaseData:
    """What a phase is trained on, beside the clean corpus that the gates compare it with."""

    inputs: tuple[Stage, ...]
    sources: Callable[[StageRun, PhaseRecipe], list[LanguageSource]]
    packs: str  # the descriptions of its stages
    checkpoint: str


_PHASE_DATA: Mapping[str, PhaseData] = {
    "general": PhaseData(
        (),
        _general_sources,
        "Every clean training document of every language, in the languages' own proportions.",
        "The first model: random weights, trained on the whole corpus under a cosine.",
    ),
    "continued": PhaseData(
        (high_quality_subset,),
        _continued_sources,
        "The high-quality subset, each document in as many whole passes as its repeats.",
        "The second model: the general one, warmed up again and trained on the repeated subset.",
    ),
    "enhanced": PhaseData(
        (synthetic_set,),
        _enhanced_sources,
        "The synthetic files, Python raised to its share of the tokens.",
        "The last model: the continued one, trained on the synthetic files.",
    ),
}


def _packs_stage(phase: str, data: PhaseData) -> Stage:
    def config(inputs: StageInputs) -> Any:
        recipe, values = inputs.recipe, phase_recipe(inputs.recipe, phase)
        return {
            "tokens": values.tokens,
            "python_share": values.python_share,
            "python_shortfall": values.python_shortfall,
            "max_passes": values.max_passes,
            "context_tokens": recipe.pretraining.model.context_tokens,
            "packing": recipe.pretraining.packing,
            **gate_config(recipe),
        }

    @stage(
        name=f"{phase}_packs",
        description=data.packs,
        group="pretraining",
        code_version="1",
        inputs=tuple(
            Input(stage=read)
            for read in (clean_corpus, *data.inputs, tokenizer, benchmark_problems)
        ),
        config=config,
        kinds={"parquet"},
        cost=CostModel(output_tokens=lambda recipe: phase_recipe(recipe, phase).tokens),
    )
    def packs(run: StageRun) -> StageResult:
        values = phase_recipe(run.recipe, phase)
        stats = pack(
            data.sources(run, values),
            folder=run.folder,
            tokenizer=load_tokenizer(run.input(tokenizer).folder),
            phase=values,
            packing=run.recipe.pretraining.packing,
            context_tokens=run.recipe.pretraining.model.context_tokens,
        )
        table = dg.MetadataValue.md(language_table(stats["languages"]))
        return StageResult(stats=stats, metadata={"languages": table})

    return packs


def num_parameters(model: ModelRecipe, *, vocabulary: int) -> int:
    """Weights of the decoder, embeddings tied."""
    head = model.hidden_size // model.heads
    attention = 2 * model.hidden_size * head * (model.heads + model.key_value_heads)
    feed_forward = 3 * model.hidden_size * model.intermediate_size
    return vocabulary * model.hidden_size + model.layers * (attention + feed_forward)


def _training_seconds(recipe: Recipe, tokens: float) -> float:
    """Six floating-point operations per parameter and token (Kaplan et al. 2020, section 2.1)."""
    vocabulary = recipe.curation.tokenizer.vocabulary
    flops = 6.0 * num_parameters(recipe.pretraining.model, vocabulary=vocabulary) * tokens
    return flops / recipe.operation.training_flops_per_second / max(1, recipe.pretraining.gpus)


def _checkpoint_stage(phase: str, data: PhaseData, packs: Stage, parent: Stage | None) -> Stage:
    def config(inputs: StageInputs) -> Any:
        recipe = inputs.recipe
        return {
            "model": recipe.pretraining.model,
            "phase": phase_recipe(recipe, phase),
            "optimization": optimization(recipe.pretraining),
            **gate_config(recipe),
        }

    def num_tokens(recipe: Recipe) -> float:
        return phase_recipe(recipe, phase).tokens

    def seconds(recipe: Recipe, _: Size) -> float:
        return _training_seconds(recipe, num_tokens(recipe))

    @stage(
        name=f"{phase}_checkpoint",
        description=data.checkpoint,
        group="pretraining",
        code_version="2",
        inputs=tuple(
            Input(stage=read)
            for read in (packs, tokenizer, benchmark_problems, *([parent] if parent else []))
        ),
        config=config,
        tables=(StageTable(name="seen", schema=SEEN, repository_column="repository"),),
        kinds={"pytorch"},
        resources={"jobs"},
        holds_text=False,
        is_retrained_by_hand=True,
        is_checkpoint=True,
        cost=CostModel(
            gpus=lambda recipe: recipe.pretraining.gpus,
            model_tokens=num_tokens,
            past_model_tokens=lambda settings: float(settings["phase"]["tokens"]),
            seconds=seconds,
        ),
    )
    def checkpoint(run: StageRun) -> StageResult:
        return _trained(run, phase, packs, parent)

    return checkpoint


def _trained(run: StageRun, phase: str, packs: Stage, parent: Stage | None) -> StageResult:
    recipe, values = run.recipe, phase_recipe(run.recipe, phase)
    packs_folder, tokenizer_folder = run.input(packs).folder, run.input(tokenizer).folder
    gates.assert_trainable_packs(
        packs_folder,
        load_tokenizer(tokenizer_folder),
        shards.input_folders(packs_folder, clean_corpus.name),
        _benchmarks(run),
        tokens=values.tokens,
        context_tokens=recipe.pretraining.model.context_tokens,
    )
    request = PretrainingRequest(
        phase=phase,
        packs=packs_folder,
        tokenizer=tokenizer_folder,
        parent=run.input(parent).folder if parent else None,
        output=run.folder,
        model=recipe.pretraining.model,
        recipe=values,
        optimization=optimization(recipe.pretraining),
    )
    job = run.jobs.run(
        run.context,
        "snow_assets.pretraining.training",
        request,
        report=PretrainingReport,
        code_version="2",
        size=JobSize(
            gpus=recipe.pretraining.gpus,
            cpus=recipe.pretraining.threads,
            memory_gib=recipe.operation.worker_memory.pretraining_gib,
        ),
    )
    metrics = worker.read_attempts(job.folder)
    return StageResult(
        stats=finish_checkpoint(run.folder, job.report),
        metadata={
            "loss": loss_curve(metrics),
            "repositories": dg.MetadataValue.md(repositories_table(run.folder, rows=50)),
            "device": job.report.device,
            "tokens_per_second": tokens_per_second(job.report),
            "job": dg.MetadataValue.path(job.folder),
        },
        metrics=metrics,
        model=TrackedModel(name=run.stage.name, parent=parent.name if parent else None),
    )


def _phase_stages() -> tuple[dict[str, Stage], dict[str, Stage]]:
    packs: dict[str, Stage] = {}
    checkpoints: dict[str, Stage] = {}
    parent = None
    for phase in PHASES:
        data = _PHASE_DATA[phase]
        packs[phase] = _packs_stage(phase, data)
        checkpoints[phase] = parent = _checkpoint_stage(phase, data, packs[phase], parent)
    return packs, checkpoints


PACKS, CHECKPOINTS = _phase_stages()
"""The stages of each phase, by the phase's name, in the order of training."""
