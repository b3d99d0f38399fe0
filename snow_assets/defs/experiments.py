"""Stages of experiments: each arm with each seed, and the comparisons of an experiment.

An arm is the recipe with other values. Its stages are the recipe's own: what has the same inputs
and config as the recipe's is used as it is, and what two arms share is made once.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import dagster as dg

from snow_assets.defs.corpus import benchmark_problems, exemplars
from snow_assets.defs.curation import clean_corpus, tokenizer
from snow_assets.defs.evaluation import CODE_VERSION as MEASURING_VERSION
from snow_assets.defs.materialize import current_artifact, make_artifact
from snow_assets.defs.pretraining import (
    CHECKPOINTS,
    device_seconds,
    phase_stages,
    phase_values,
)
from snow_assets.defs.quality import graded_texts, selecting_stages
from snow_assets.evaluation.contract import EvaluationRequest, MeasurementReport
from snow_assets.experiments import arms
from snow_assets.recipe import Recipe, annotator_values
from snow_assets.recipe.data import selection_values
from snow_assets.stages import (
    Artifact,
    CostModel,
    Input,
    Partitions,
    Stage,
    StageInputs,
    StageResult,
    StageRun,
    StageTable,
    as_json,
    partition_names,
    stage,
)
from snow_assets.storage import shards
from snow_assets.storage.schemas.experiments import (
    ANNOTATOR_CORRELATION,
    ARM_ANNOTATOR,
    ARM_RESULT,
    COMPARISON,
)
from snow_assets.storage.sizes import Size
from snow_resources.gpu_jobs import JobSize

_CORPUS_SECTIONS = ("corpus", "exemplars", "curation", "evaluation")
_CORPUS_GROUPS = ("corpus", "curation")
"""Stages of these groups read these sections alone: an arm without changes of them has the recipe's
artifacts."""
_NO_VALUES = ("name", "operation", "experiments", "promotion_gates", "further_annotators")


def arm_stages(recipe: Recipe, phase: str) -> tuple[Stage, ...]:
    """What the checkpoint of a phase of an arm's `recipe` is made by, each stage after those that
    the recipe makes it read; the last one makes the checkpoint. Packs and checkpoints are those of
    its phases."""
    _, checkpoints = phase_stages(recipe.pretraining.phases)
    ordered: dict[str, Stage] = {}

    def add(needed: Stage) -> None:
        for read in needed.inputs_of(recipe):
            if read.stage.name not in ordered:
                add(read.stage)
        ordered[needed.name] = needed

    add(checkpoints[phase])
    return tuple(ordered.values())


def _arm_config(inputs: StageInputs) -> Any:
    run = arms.arm_run(inputs.recipe, inputs.partition)
    arms.require_solutions(run.experiment)
    recipe, phase = arms.arm_recipe(inputs.recipe, run), arms.arm_phase(inputs.recipe, run)
    values = as_json(recipe)
    values["pretraining"]["phases"] = [phase_values(each) for each in recipe.pretraining.phases]
    values["annotator"] = as_json(annotator_values(recipe.selecting_annotator))
    values["selection"] = as_json(selection_values(recipe.selection))
    return {
        "recipe": {name: value for name, value in values.items() if name not in _NO_VALUES},
        "phase": phase,
        "code_versions": {
            arm_stage.name: arm_stage.code_version
            # Grades are named also where none are read: addresses are older than that distinction.
            for arm_stage in (graded_texts, *arm_stages(recipe, phase))
        },
        "measuring": MEASURING_VERSION,
    }


def _measuring_seconds(recipe: Recipe, _: Size) -> float:
    """Of an arm's checkpoint, without its training, which its own stages estimate: a forward pass
    is a third of a training step's operations."""
    evaluation = recipe.evaluation
    num_documents = evaluation.held_out_documents_per_language * len(recipe.curation.languages)
    num_bytes = num_documents * evaluation.max_document_bytes
    tokens = num_bytes / recipe.operation.bytes_per_token
    return device_seconds(recipe, tokens) / 3 / max(1, evaluation.gpus)


@stage(
    group="experiments",
    code_version="4",
    inputs=(
        Input(stage=clean_corpus),
        Input(stage=tokenizer),
        Input(stage=exemplars),
        Input(stage=benchmark_problems),
        # Made for the arm by the run itself; they stand before it in the graph.
        *(Input(stage=checkpoint, is_fingerprinted=False) for checkpoint in CHECKPOINTS.values()),
    ),
    config=_arm_config,
    partitions=Partitions.ARM_SEEDS,
    tables=(
        StageTable(name="arm_results", schema=ARM_RESULT),
        StageTable(name="arm_annotators", schema=ARM_ANNOTATOR),
    ),
    kinds={"pytorch", "parquet"},
    resources={"jobs", "teacher"},
    holds_text=False,
    is_retrained_by_hand=True,
    cost=CostModel(gpus=lambda recipe: recipe.evaluation.gpus, seconds=_measuring_seconds),
)
def experiment_arms(run: StageRun) -> StageResult:
    """An arm of an experiment, trained with a seed, and what it scores on the benchmark's solutions
    and held-out code."""
    from snow_assets.experiments import results
    from snow_assets.quality.gate import read_annotator

    arm = arms.arm_run(run.recipe, run.partition)
    recipe = arms.arm_recipe(run.recipe, arm)
    phase = arms.arm_phase(run.recipe, arm)
    stages = arm_stages(recipe, phase)
    artifacts = _materialize_arm(run, stages, recipe)
    checkpoint = artifacts[stages[-1].name, "all"]
    request = EvaluationRequest(
        checkpoint=phase,
        checkpoint_folder=checkpoint.folder,
        tokenizer=artifacts[tokenizer.name, "all"].folder,
        corpora={
            name: artifacts[clean_corpus.name, name].folder for name in recipe.curation.languages
        },
        problems=artifacts[benchmark_problems.name, "all"].folder,
        output=run.folder,
        precision=recipe.pretraining.precision,
        recipe=recipe.evaluation,
    )
    run.jobs.run(
        run.context,
        "snow_assets.evaluation.measuring",
        request,
        report=MeasurementReport,
        code_version=MEASURING_VERSION,
        size=JobSize(
            gpus=recipe.evaluation.gpus,
            cpus=recipe.evaluation.threads,
            memory_gib=recipe.operation.worker_memory.evaluation_gib,
        ),
    )
    annotator = artifacts.get((selecting_stages(recipe).annotator.name, "all"))
    results.write_annotator(
        run.folder, arm, None if annotator is None else read_annotator(annotator.folder)
    )
    return StageResult(stats=results.write(run.folder, arm), inputs=[checkpoint])


def _materialize_arm(
    run: StageRun, stages: Sequence[Stage], recipe: Recipe
) -> Mapping[tuple[str, str], Artifact]:
    """Make what the arm's recipe does not share with the run's; (asset, partition) -> artifact."""
    base = partial(current_artifact, run.lake, run.recipe)
    artifacts: dict[tuple[str, str], Artifact] = {}

    def resolve(asset: str, partition: str) -> Artifact:
        return artifacts.get((asset, partition)) or base(asset, partition)

    shared = shared_stages(stages, recipe, run.recipe)
    for arm_stage in stages:
        for partition in partition_names(arm_stage.partitions, recipe):
            if arm_stage in shared:
                artifacts[arm_stage.name, partition] = base(arm_stage.name, partition)
                continue
            inputs = StageInputs(
                stage=arm_stage,
                partition=partition,
                recipe=recipe,
                lake=run.lake,
                resolve=resolve,
                resources={
                    name: run.resources[name] for name in arm_stage.required_resources(recipe)
                },
            )
            artifacts[arm_stage.name, partition] = _materialize_stage(run, inputs)
    return artifacts


def shared_stages(stages: Sequence[Stage], recipe: Recipe, base: Recipe) -> list[Stage]:
    """Those `stages` of an arm's `recipe` whose artifacts are those of the `base` recipe, unasked:
    computing their fingerprints would list the sources again for each arm."""
    values, base_values = as_json(recipe), as_json(base)
    if any(values[name] != base_values[name] for name in _CORPUS_SECTIONS):
        return []
    return [needed for needed in stages if needed.group in _CORPUS_GROUPS]


def _materialize_stage(run: StageRun, inputs: StageInputs) -> Artifact:
    spec = inputs.artifact_spec()
    run.context.log.info(f"{run.partition}: {spec.asset} [{spec.partition}]")
    recorded = make_artifact(run.context, inputs, spec, tracking=run.context.resources.tracking)
    return Artifact(
        asset=spec.asset,
        partition=spec.partition,
        folder=recorded.folder,
        fingerprint=spec.fingerprint,
        digest=recorded.manifest.digest,
    )


def corpus_stages(recipe: Recipe) -> tuple[Stage, ...]:
    """The recipe's own stages that its arms share, whatever they change after the corpus."""
    phases = [experiment.phase for experiment in recipe.experiments]
    needed = {read.name: read for phase in phases for read in arm_stages(recipe, phase)}
    return tuple(read for read in needed.values() if read.group in _CORPUS_GROUPS)


def _own_arms(inputs: StageInputs) -> Iterator[tuple[arms.ArmRun, Artifact]]:
    """The arms of the partition's experiment; FileNotFoundError names one that is not made."""
    for run in arms.arm_runs(inputs.recipe):
        if run.experiment.name == inputs.partition:
            yield run, inputs.resolve(experiment_arms.name, run.partition)


def _comparisons_config(inputs: StageInputs) -> Any:
    own_arms = list(_own_arms(inputs))
    return {
        "experiment": own_arms[0][0].experiment,
        "arms": {run.partition: artifact.digest for run, artifact in own_arms},
    }


@stage(
    group="experiments",
    code_version="4",
    # Its own experiment's arms are part of its config.
    inputs=(Input(stage=experiment_arms, is_fingerprinted=False, missing_ok=True),),
    config=_comparisons_config,
    partitions=Partitions.EXPERIMENTS,
    tables=(
        StageTable(name="comparisons", schema=COMPARISON),
        StageTable(name="correlations", schema=ANNOTATOR_CORRELATION),
    ),
    kinds={"parquet"},
    holds_text=False,
    is_retrained_by_hand=True,
)
def experiment_comparisons(run: StageRun) -> StageResult:
    """What an experiment shows: paired differences with intervals over seeds and texts, against the
    noise of two draws of the same arm."""
    import polars as pl

    from snow_assets.experiments import asset_metadata, comparisons, results

    own_arms = list(_own_arms(run))
    experiment = own_arms[0][0].experiment
    texts = {
        (arm.arm, arm.seed): results.solution_texts(artifact.folder, experiment.benchmark)
        for arm, artifact in own_arms
    }
    decisions = comparisons.decide(experiment, texts)
    rows = results.comparison_rows(experiment, decisions)
    shards.put_table(run.folder, "comparisons", 0, rows, COMPARISON)
    arm_results, annotators = (
        pl.concat(pl.DataFrame(shards.read(artifact.folder, name)) for _, artifact in own_arms)
        for name in ("arm_results", "arm_annotators")
    )
    correlations = results.correlation_rows(experiment, arm_results, annotators)
    shards.put_table(run.folder, "correlations", 0, correlations, ANNOTATOR_CORRELATION)
    metadata = {
        "comparisons": dg.MetadataValue.md(asset_metadata.comparisons_table(rows)),
        "arms": asset_metadata.arms_plot(experiment, arm_results),
    }
    if experiment.annotator_arms:
        tables = (
            asset_metadata.annotators_table(experiment, arm_results, annotators),
            asset_metadata.correlations_table(correlations),
        )
        metadata |= {
            "annotators": dg.MetadataValue.md("\n\n".join(tables)),
            "annotators_and_arms": asset_metadata.annotators_plot(
                experiment, arm_results, annotators
            ),
        }
    return StageResult(
        stats={f"{row['arm']} - {row['baseline']}": row["outcome"] for row in rows},
        metadata=metadata,
        inputs=[artifact for _, artifact in own_arms],
    )
