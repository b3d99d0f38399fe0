"""Pretraining as assets: three packs, and three checkpoints with three different parents."""

from collections.abc import Callable, Sequence
from typing import Any

import dagster as dg

from snow_assets import shards, worker
from snow_assets.curation.tokens import load_tokenizer
from snow_assets.materialize import Made, Upstream, materialize, upstream
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
from snow_assets.recipe import PhaseRecipe, Recipe
from snow_resources.gpu_jobs import GpuJobs, JobSize
from snow_resources.lake import Lake
from snow_resources.tracking import TrackedModel, Tracking

CURATED = [dg.AssetKey("clean_corpus"), dg.AssetKey("tokenizer"), dg.AssetKey("benchmark_problems")]
TRAINING = [dg.AssetKey("tokenizer"), dg.AssetKey("benchmark_problems")]


@dg.asset(group_name="pretraining", kinds={"parquet"}, deps=CURATED)
def general_packs(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """Every clean training document of every language, in the languages' own proportions."""
    clean = _by_language(lake, recipe, "clean_corpus")
    phase = recipe.pretraining.general

    def supplies() -> list[LanguageSource]:
        found = general_sources(_folders(clean), max_passes=phase.max_passes)
        gates.refuse_documents(found, _folders(clean), _benchmarks(lake, recipe))
        return found

    return _packed(context, lake, tracking, recipe, phase, clean, supplies)


@dg.asset(
    group_name="pretraining",
    kinds={"parquet"},
    deps=[*CURATED, dg.AssetKey("high_quality_subset")],
)
def continued_packs(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """The high-quality subset, each document in as many whole passes as its repeats."""
    clean = _by_language(lake, recipe, "clean_corpus")
    subset = _by_language(lake, recipe, "high_quality_subset")
    phase = recipe.pretraining.continued

    def supplies() -> list[LanguageSource]:
        found = continued_sources(_folders(clean), _folders(subset), max_passes=phase.max_passes)
        gates.refuse_documents(found, _folders(clean), _benchmarks(lake, recipe))
        return found

    return _packed(context, lake, tracking, recipe, phase, [*clean, *subset], supplies)


@dg.asset(
    group_name="pretraining", kinds={"parquet"}, deps=[*CURATED, dg.AssetKey("synthetic_set")]
)
def enhanced_packs(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """The synthetic files, Python raised to its share of the tokens."""
    clean = _by_language(lake, recipe, "clean_corpus")
    synthetic = upstream(lake, recipe, "synthetic_set")
    phase = recipe.pretraining.enhanced

    def supplies() -> list[LanguageSource]:
        found = enhanced_sources(synthetic.folder, max_passes=phase.max_passes)
        gates.refuse_synthetic_documents(
            found, synthetic.folder, _folders(clean), _benchmarks(lake, recipe)
        )
        return found

    return _packed(context, lake, tracking, recipe, phase, [*clean, synthetic], supplies)


@dg.asset(group_name="pretraining", kinds={"pytorch"}, deps=[*TRAINING, general_packs])
def general_checkpoint(
    context: dg.AssetExecutionContext,
    lake: Lake,
    jobs: GpuJobs,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """The first model: random weights, trained on the whole corpus under a cosine."""
    return _trained(context, lake, jobs, tracking, recipe, phase="general", parent=None)


@dg.asset(
    group_name="pretraining",
    kinds={"pytorch"},
    deps=[*TRAINING, continued_packs, general_checkpoint],
)
def continued_checkpoint(
    context: dg.AssetExecutionContext,
    lake: Lake,
    jobs: GpuJobs,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """The second model: the general one, warmed up again and trained on the repeated subset."""
    parent = upstream(lake, recipe, "general_checkpoint")
    return _trained(context, lake, jobs, tracking, recipe, phase="continued", parent=parent)


@dg.asset(
    group_name="pretraining",
    kinds={"pytorch"},
    deps=[*TRAINING, enhanced_packs, continued_checkpoint],
)
def enhanced_checkpoint(
    context: dg.AssetExecutionContext,
    lake: Lake,
    jobs: GpuJobs,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """The last model: the continued one, trained on the synthetic files."""
    parent = upstream(lake, recipe, "continued_checkpoint")
    return _trained(context, lake, jobs, tracking, recipe, phase="enhanced", parent=parent)


def _packed(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: Recipe,
    phase: PhaseRecipe,
    given: Sequence[Upstream],
    supplies: Callable[[], list[LanguageSource]],
) -> dg.MaterializeResult[Any]:
    tokenizer = upstream(lake, recipe, "tokenizer")
    problems = upstream(lake, recipe, "benchmark_problems")
    context_tokens = recipe.pretraining.model.context_tokens
    settings = {
        "tokens": phase.tokens,
        "python_share": phase.python_share,
        "python_shortfall": phase.python_shortfall,
        "max_passes": phase.max_passes,
        "context_tokens": context_tokens,
        "packing": recipe.pretraining.packing,
        "gate_window_tokens": recipe.curation.contamination.gate_window_tokens,
        "contamination_exemptions": recipe.curation.contamination_exemptions,
    }

    def work(folder: str) -> Made:
        facts = pack(
            supplies(),
            folder=folder,
            tokenizer=load_tokenizer(tokenizer.folder),
            phase=phase,
            packing=recipe.pretraining.packing,
            context_tokens=context_tokens,
        )
        table = dg.MetadataValue.md(language_table(facts["languages"]))
        return Made(facts=facts, metadata={"languages": table})

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="1",
        settings=settings,
        inputs=[*given, tokenizer, problems],
        work=work,
    )


def _trained(
    context: dg.AssetExecutionContext,
    lake: Lake,
    jobs: GpuJobs,
    tracking: Tracking,
    recipe: Recipe,
    *,
    phase: str,
    parent: Upstream | None,
) -> dg.MaterializeResult[Any]:
    packs = upstream(lake, recipe, f"{phase}_packs")
    tokenizer = upstream(lake, recipe, "tokenizer")
    problems = upstream(lake, recipe, "benchmark_problems")
    numbers: PhaseRecipe = getattr(recipe.pretraining, phase)
    settings = {
        "model": recipe.pretraining.model,
        "phase": numbers,
        "optimization": optimization(recipe.pretraining),
        "gate_window_tokens": recipe.curation.contamination.gate_window_tokens,
        "contamination_exemptions": recipe.curation.contamination_exemptions,
    }

    def work(folder: str) -> Made:
        gates.refuse_packs(
            packs.folder,
            load_tokenizer(tokenizer.folder),
            shards.input_folders(packs.folder, "clean_corpus"),
            _benchmarks(lake, recipe),
            tokens=numbers.tokens,
            context_tokens=recipe.pretraining.model.context_tokens,
        )
        request = PretrainingRequest(
            phase=phase,
            packs=packs.folder,
            tokenizer=tokenizer.folder,
            parent=parent.folder if parent else None,
            output=folder,
            model=recipe.pretraining.model,
            recipe=numbers,
            optimization=optimization(recipe.pretraining),
        )
        job = jobs.run(
            context,
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
        return Made(
            facts=finish_checkpoint(folder, job.report),
            metadata={
                "loss": loss_curve(metrics),
                "repositories": dg.MetadataValue.md(repositories_table(folder, rows=50)),
                "device": job.report.device,
                "tokens_per_second": tokens_per_second(job.report),
                "job": dg.MetadataValue.path(job.folder),
            },
            metrics=metrics,
            model=TrackedModel(name=f"{phase}_checkpoint", parent=parent.asset if parent else None),
        )

    inputs = [packs, tokenizer, problems, *([parent] if parent else [])]
    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="2",
        settings=settings,
        inputs=inputs,
        work=work,
    )


def _by_language(lake: Lake, recipe: Recipe, asset: str) -> list[Upstream]:
    return [upstream(lake, recipe, asset, name) for name in recipe.curation.languages]


def _folders(given: Sequence[Upstream]) -> list[str]:
    return [one.folder for one in given]


def _benchmarks(lake: Lake, recipe: Recipe) -> gates.Benchmarks:
    return gates.Benchmarks(
        problems=shards.read(upstream(lake, recipe, "benchmark_problems").folder, "problems"),
        window_tokens=recipe.curation.contamination.gate_window_tokens,
        exemptions=recipe.curation.contamination_exemptions,
    )
