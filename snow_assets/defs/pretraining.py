"""Stages of pretraining: the packs and the checkpoint of each of the recipe's phases."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import TypeAdapter

from snow_assets.defs.artifact_metadata import read_metadata
from snow_assets.defs.corpus import benchmark_problems
from snow_assets.defs.curation import clean_corpus, gate_config, tokenizer
from snow_assets.defs.selection import high_quality_subset
from snow_assets.defs.stalled_training import report_stall
from snow_assets.defs.synthesis import synthetic_set
from snow_assets.plots import Plot
from snow_assets.pretraining.asset_metadata import MetricsByStep, language_table, loss_curve
from snow_assets.pretraining.contract import (
    EXECUTION_FIELDS,
    PretrainingReport,
    PretrainingRequest,
    optimization,
)
from snow_assets.pretraining.model_size import (
    gpu_memory_bytes,
    num_parameters,
    require_memory,
)
from snow_assets.recipe import (
    Dataset,
    PhaseRecipe,
    PretrainingExecution,
    Recipe,
    chosen_recipe,
)
from snow_assets.runtime import worker
from snow_assets.runtime.exchange.chosen import open_exchange
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.job_metrics import JobMetrics, follow
from snow_assets.runtime.remaining_time import duration
from snow_assets.stages import (
    CostModel,
    Input,
    Stage,
    StageInputs,
    StageResult,
    StageRun,
    StageTable,
    always,
    stage,
)
from snow_assets.storage import shards
from snow_assets.storage.schemas.pretraining import SEEN
from snow_assets.storage.shards import DamagedFileError
from snow_assets.storage.sizes import Size
from snow_resources.gpu_jobs import JobSize
from snow_resources.tracking import TrackedModel

if TYPE_CHECKING:
    from snow_assets.pretraining.gates import Benchmarks
    from snow_assets.pretraining.sources import LanguageSource


def _benchmarks(run: StageRun) -> "Benchmarks":
    from snow_assets.pretraining.gates import Benchmarks

    return Benchmarks(
        problems=shards.read(run.input(benchmark_problems).folder, "problems"),
        window_tokens=run.recipe.curation.contamination.gate_window_tokens,
        exemptions=run.recipe.curation.contamination_exemptions,
    )


_DATA: Mapping[Dataset, tuple[Stage, str]] = {
    "clean": (clean_corpus, "every clean document, in the languages' own proportions"),
    "high_quality": (
        high_quality_subset,
        "the high-quality subset, each document in as many whole passes as its repeats",
    ),
    "synthetic": (synthetic_set, "the synthetic files"),
}
"""The stage that a phase's data come from, and what its packs' description calls them."""


def _sources(run: StageRun, phase: PhaseRecipe, exchange: Exchange) -> list["LanguageSource"]:
    """The phase's documents by language; ValueError if one is held out."""
    from snow_assets.pretraining import gates
    from snow_assets.pretraining.sources import (
        LanguageSource,
        clean_sources,
        high_quality_sources,
        mixed_sources,
        synthetic_sources,
    )

    clean, max_passes = run.folders(clean_corpus), phase.max_passes
    sources: list[LanguageSource] = []
    synthetic: list[str] = []
    if "clean" in phase.data:
        sources += clean_sources(clean, max_passes=max_passes, exchange=exchange)
    if "high_quality" in phase.data:
        subset = run.folders(high_quality_subset)
        sources += high_quality_sources(clean, subset, max_passes=max_passes, exchange=exchange)
    if "synthetic" in phase.data:
        synthetic = [run.input(synthetic_set).folder]
        sources += synthetic_sources(synthetic[0], max_passes=max_passes)
    gates.assert_trainable_documents(sources, clean, synthetic_folders=synthetic, exchange=exchange)
    return mixed_sources(sources)


def _packs_stage(phase: PhaseRecipe) -> Stage:
    def config(inputs: StageInputs) -> Any:
        pretraining = inputs.recipe.pretraining
        values = pretraining.phase(phase.name)
        return {
            "tokens": values.tokens,
            "python_fraction": values.python_fraction,
            "python_shortfall": values.python_shortfall,
            "max_passes": values.max_passes,
            "max_seq_len": pretraining.model.max_seq_len,
            "packing": pretraining.packing,
            **gate_config(inputs.recipe),
        }

    # The gates compare with the clean corpus, whatever is packed.
    data = [stage for stage, _ in (_DATA[name] for name in phase.data) if stage is not clean_corpus]
    words = ", and ".join(_DATA[name][1] for name in phase.data)

    @stage(
        name=f"{phase.name}_packs",
        description=f"What the {phase.name} phase trains on, in sequences: {words}.",
        group="pretraining",
        code_version="2",
        inputs=tuple(
            Input(stage=read) for read in (clean_corpus, *data, tokenizer, benchmark_problems)
        ),
        config=config,
        kinds={"parquet"},
        is_distributed=always,
        cost=CostModel(output_tokens=lambda recipe: recipe.pretraining.phase(phase.name).tokens),
    )
    def packs(run: StageRun) -> StageResult:
        from snow_assets.curation.tokenizer.tokens import load_tokenizer
        from snow_assets.pretraining import gates
        from snow_assets.pretraining.packs import pack

        pretraining = run.recipe.pretraining
        values = pretraining.phase(phase.name)
        packing_tokenizer = load_tokenizer(run.input(tokenizer).folder)
        with open_exchange() as exchange:
            stats = pack(
                _sources(run, values, exchange),
                folder=run.folder,
                tokenizer=packing_tokenizer,
                phase=values,
                packing=pretraining.packing,
                max_seq_len=pretraining.model.max_seq_len,
                exchange=exchange,
            )
            gates.search_for_leaks(
                run.folder,
                packing_tokenizer,
                run.folders(clean_corpus),
                _benchmarks(run),
                exchange=exchange,
            )
        table = dg.MetadataValue.md(language_table(stats["languages"]))
        return StageResult(stats=stats, metadata={"languages": table})

    return packs


def _num_devices(recipe: Recipe) -> int:
    """What divides the time: GPUs, or machines without any."""
    execution = recipe.operation.pretraining
    return execution.num_gpus or execution.nodes


def training_seconds(recipe: Recipe, tokens: float) -> float:
    """Of all devices of pretraining."""
    return device_seconds(recipe, tokens) / _num_devices(recipe)


def device_seconds(recipe: Recipe, tokens: float) -> float:
    """Six floating-point operations per parameter and token (Kaplan et al. 2020, section 2.1)."""
    vocab_size = recipe.curation.tokenizer.vocab_size
    flops = 6.0 * num_parameters(recipe.pretraining.model, vocab_size=vocab_size) * tokens
    return flops / recipe.operation.training_flops_per_second


def phase_values(phase: PhaseRecipe) -> dict[str, Any]:
    """A phase as plain JSON, as it stands in fingerprints."""
    values: dict[str, Any] = TypeAdapter(PhaseRecipe).dump_python(phase, mode="json")
    return values


def _training_values(phase: PhaseRecipe) -> dict[str, Any]:
    """What training reads; the asset's name and inputs say which phase, data and parent it is."""
    stated = ("name", "data", "parent")
    return {name: value for name, value in phase_values(phase).items() if name not in stated}


def _checkpoint_stage(phase: PhaseRecipe, packs: Stage, parent: Stage | None) -> Stage:
    def config(inputs: StageInputs) -> Any:
        require_memory(inputs.recipe)
        pretraining = inputs.recipe.pretraining
        return {
            "model": pretraining.model,
            "phase": _training_values(pretraining.phase(phase.name)),
            "optimization": optimization(pretraining),
            **gate_config(inputs.recipe),
        }

    def num_tokens(recipe: Recipe) -> float:
        return recipe.pretraining.phase(phase.name).tokens

    def seconds(recipe: Recipe, _: Size) -> float:
        return training_seconds(recipe, num_tokens(recipe))

    @stage(
        name=f"{phase.name}_checkpoint",
        description=f"The model after the {phase.name} phase, which starts from "
        f"{parent.name if parent else 'random weights'}.",
        group="pretraining",
        code_version="3",
        inputs=tuple(
            Input(stage=read)
            for read in (packs, tokenizer, benchmark_problems, *([parent] if parent else []))
        ),
        config=config,
        tables=(
            StageTable(
                name="seen",
                schema=SEEN,
                repository_column="repository",
                dbt_source="checkpoints",
            ),
        ),
        kinds={"pytorch"},
        resources={"jobs"},
        holds_text=False,
        is_retrained_by_hand=True,
        is_checkpoint=True,
        cost=CostModel(
            gpus=lambda recipe: recipe.operation.pretraining.num_gpus,
            model_tokens=num_tokens,
            past_model_tokens=lambda config: float(config["phase"]["tokens"]),
            seconds=seconds,
            gpu_memory_bytes=gpu_memory_bytes,
        ),
    )
    def checkpoint(run: StageRun) -> StageResult:
        return _trained(run, phase.name, packs, parent)

    return checkpoint


def job_size(execution: PretrainingExecution) -> JobSize:
    """Of each of the Job's pods."""
    return JobSize(
        gpus=execution.num_gpus // execution.nodes,
        cpus=execution.threads * execution.processes_per_node,
        memory_gib=execution.memory_gib,
        nodes=execution.nodes,
        processes=execution.processes_per_node,
    )


@contextmanager
def watch_training(run: StageRun, model: TrackedModel, num_steps: int, job: str) -> Iterator[None]:
    """Log the job's metrics to MLflow while it runs; a stall is a warning, a tag of the run and a
    failed check of the checkpoint, where the recipe has it."""

    def report(message: str | None) -> None:
        if message is None:
            run.context.log.info(f"{run.stage.name}: steps go on")
        else:
            run.context.log.warning(f"{run.stage.name}: {message}")
        report_stall(
            run.context.instance,
            run.context.op_execution_context.run_id,
            run.stage.name,
            message,
            has_check=run.stage.name in {stage.name for stage in CHECKPOINTS.values()},
        )

    assert run.live_run is not None  # the run's process waits for the training job
    with run.live_run(model) as live_run:
        metrics = JobMetrics(
            job=job,
            num_steps=num_steps,
            log_metrics=live_run.log_metrics,
            report_stall=report,
        )
        with follow(metrics):
            yield


def _trained(run: StageRun, phase: str, packs: Stage, parent: Stage | None) -> StageResult:
    from snow_assets.pretraining import gates
    from snow_assets.pretraining.checkpoint_stats import (
        finish_checkpoint,
        repositories_table,
        tokens_per_second,
    )

    recipe, values = run.recipe, run.recipe.pretraining.phase(phase)
    execution = recipe.operation.pretraining
    packs_folder, tokenizer_folder = run.input(packs).folder, run.input(tokenizer).folder
    gates.assert_trainable_packs(
        packs_folder,
        _benchmarks(run),
        tokens=values.tokens,
        max_seq_len=recipe.pretraining.model.max_seq_len,
    )
    planned_seconds = training_seconds(recipe, values.tokens)
    request = PretrainingRequest(
        packs=packs_folder,
        tokenizer=tokenizer_folder,
        parent=run.input(parent).folder if parent else None,
        output=run.folder,
        model=recipe.pretraining.model,
        recipe=values,
        optimization=optimization(recipe.pretraining),
        execution=execution,
        planned_seconds=planned_seconds,
    )
    model = TrackedModel(name=run.stage.name, parent=parent.name if parent else None)
    num_steps = values.tokens // (values.global_batch_size * recipe.pretraining.model.max_seq_len)
    run.context.log.info(
        f"{phase}: {values.tokens:,} tokens, planned to take {duration(planned_seconds)}"
    )
    job = run.jobs.run(
        run.context,
        "snow_assets.pretraining.training",
        request,
        report=PretrainingReport,
        code_version="3",
        size=job_size(execution),
        unaddressed_fields=EXECUTION_FIELDS,
        watch=partial(watch_training, run, model, num_steps),
    )
    metrics = worker.read_attempts(job.folder)
    return StageResult(
        stats=finish_checkpoint(run.folder, job.report),
        metadata={
            **_loss_plots(run, phase, parent, metrics),
            "repositories": dg.MetadataValue.md(repositories_table(run.folder, rows=50)),
            "device": job.report.device,
            "tokens_per_second": tokens_per_second(job.report),
            "job": dg.MetadataValue.path(job.folder),
        },
        metrics=metrics,
        model=model,
    )


def _loss_plots(
    run: StageRun, phase: str, parent: Stage | None, metrics: MetricsByStep
) -> dict[str, Plot]:
    """The phase's loss, and the loss of all phases from random weights to it."""
    title = "Training loss and learning rate"
    plots = {"loss": loss_curve({phase: metrics}, title=title)}
    if parent is not None:
        phases = {**_metrics_by_phase(run, run.input(parent).folder), phase: metrics}
        plots["loss_of_all_phases"] = loss_curve(phases, title=f"{title} of all phases")
    return plots


def _metrics_by_phase(run: StageRun, folder: str) -> dict[str, MetricsByStep]:
    """The metrics of a checkpoint and its ancestors by phase, the oldest first."""
    manifest = shards.manifest(folder)
    phase = manifest.asset.removesuffix("_checkpoint")
    try:
        metadata = read_metadata(folder, manifest)
    except (DamagedFileError, FileNotFoundError) as error:
        # A plot without an earlier phase is better than training again.
        run.context.log.warning(f"the loss plot leaves out the {phase} phase: {error}")
        return {}
    parent = metadata.run.model.parent if metadata.run and metadata.run.model else None
    earlier = shards.input_folders(folder, parent) if parent else []
    ancestors = _metrics_by_phase(run, earlier[0]) if earlier else {}
    return {**ancestors, phase: metadata.metrics}


def phase_stages(phases: Sequence[PhaseRecipe]) -> tuple[dict[str, Stage], dict[str, Stage]]:
    """The packs and the checkpoint of each phase, by the phase's name, in the order of training."""
    packs: dict[str, Stage] = {}
    checkpoints: dict[str, Stage] = {}
    previous = None
    for phase in phases:
        parent = checkpoints[phase.parent] if phase.parent else previous
        packs[phase.name] = _packs_stage(phase)
        previous = _checkpoint_stage(phase, packs[phase.name], parent)
        checkpoints[phase.name] = previous
    return packs, checkpoints


PACKS, CHECKPOINTS = phase_stages(chosen_recipe().pretraining.phases)
"""Of the recipe that `SNOW_RECIPE` names when this is imported: the graph follows its phases."""
