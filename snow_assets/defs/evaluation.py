"""The stage of evaluation: a partition per checkpoint."""

from typing import Any

import dagster as dg

from snow_assets.defs.corpus import benchmark_problems
from snow_assets.defs.curation import clean_corpus, tokenizer
from snow_assets.defs.pretraining import CHECKPOINTS
from snow_assets.evaluation import programs
from snow_assets.evaluation.contract import (
    EvaluationRequest,
    ExecutionReport,
    MeasurementReport,
)
from snow_assets.evaluation.decoding import completion_parts, decodings, num_chosen_problems
from snow_assets.recipe import Recipe
from snow_assets.runtime import sandbox
from snow_assets.runtime.generation_report import GenerationReport, generation_speed
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
from snow_assets.storage.schemas.evaluation import EXECUTION, RESULT
from snow_assets.storage.sizes import Size
from snow_resources.gpu_jobs import JobSize

CODE_VERSION = "8"


def _config(inputs: StageInputs) -> Any:
    # The isolation is part of the fingerprint, so that "not run" is not final: where a sandbox is
    # available later, the programs run.
    programs.require_memory(inputs.recipe)
    cluster_isolation = inputs.jobs.sandbox_level()
    isolation = cluster_isolation or sandbox.probe().level
    config = {
        "evaluation": inputs.recipe.evaluation,
        "precision": inputs.recipe.pretraining.precision,
        "isolation": isolation,
    }
    # With other libraries other problems are excluded: an environment's path is its version. A
    # cluster's toolchains are those of its image.
    toolchains = programs.installed_toolchains(inputs.recipe)
    if cluster_isolation is not None and toolchains is not None:
        toolchains = inputs.jobs.identity(_sandbox_size(inputs.recipe))
    optional = {
        "benchmark_python": programs.required_python(
            inputs.recipe, is_here=cluster_isolation is None
        ),
        "toolchains": toolchains,
    }
    return config | {name: value for name, value in optional.items() if value is not None}


def _sandbox_size(recipe: Recipe) -> JobSize:
    operation = recipe.operation
    return JobSize(
        environment="sandbox",
        cpus=operation.sandbox_cpus,
        memory_gib=operation.worker_memory.sandbox_gib,
    )


def _completion_tokens(recipe: Recipe) -> float:
    """Of all checkpoints' completions, which take longer than reading what is held out."""
    evaluation = recipe.evaluation
    num_samples = sum(decoding.num_samples for decoding in decodings(evaluation))
    num_completions = num_chosen_problems(evaluation) * num_samples
    return num_completions * evaluation.max_new_tokens * len(recipe.pretraining.phases)


def _seconds(recipe: Recipe, output: Size) -> float:
    rate = recipe.operation.generation_tokens_per_second
    return output.tokens / rate / max(1, recipe.evaluation.gpus)


@stage(
    group="evaluation",
    code_version=CODE_VERSION,
    inputs=(
        *(
            Input(stage=checkpoint, only_partition=phase)
            for phase, checkpoint in CHECKPOINTS.items()
        ),
        Input(stage=tokenizer),
        Input(stage=benchmark_problems),
        Input(stage=clean_corpus),
    ),
    config=_config,
    partitions=Partitions.PHASES,
    tables=(
        StageTable(name="results", schema=RESULT),
        StageTable(name="executions", schema=EXECUTION),
    ),
    kinds={"pytorch", "vllm", "parquet"},
    resources={"jobs"},
    holds_text=False,
    is_retrained_by_hand=True,
    cost=CostModel(
        gpus=lambda recipe: recipe.evaluation.gpus,
        output_tokens=_completion_tokens,
        seconds=_seconds,
    ),
)
def benchmark_results(run: StageRun) -> StageResult:
    """How good a checkpoint is, each value with its 95 % interval.

    Bits per byte of held-out repositories by language and of canonical solutions; pass@k of the
    programs that it writes, run in a sandbox. Where no sandbox can be had, pass@k is "not run".
    """
    from snow_assets.evaluation import asset_metadata, results

    request = EvaluationRequest(
        checkpoint=run.partition,
        checkpoint_folder=run.input(CHECKPOINTS[run.partition]).folder,
        tokenizer=run.input(tokenizer).folder,
        corpora={corpus.partition: corpus.folder for corpus in run.inputs(clean_corpus)},
        problems=run.input(benchmark_problems).folder,
        output=run.folder,
        precision=run.recipe.pretraining.precision,
        recipe=run.recipe.evaluation,
    )
    worker_memory = run.recipe.operation.worker_memory
    measured = run.jobs.run(
        run.context,
        "snow_assets.evaluation.measuring",
        request,
        report=MeasurementReport,
        code_version=CODE_VERSION,
        size=JobSize(
            gpus=request.recipe.gpus,
            cpus=request.recipe.threads,
            memory_gib=worker_memory.evaluation_gib,
        ),
    )
    problems = num_chosen_problems(request.recipe)
    generated = run.jobs.run(
        run.context,
        "snow_assets.evaluation.generation",
        request,
        report=GenerationReport,
        code_version=CODE_VERSION,
        size=JobSize(
            environment="vllm",
            gpus=request.recipe.gpus,
            cpus=request.recipe.threads,
            memory_gib=worker_memory.evaluation_gib,
            parts=len(completion_parts(request.recipe, num_problems=problems)),
        ),
    )
    sandbox_size = _sandbox_size(run.recipe)
    executed = run.jobs.run(
        run.context,
        "snow_assets.evaluation.execution",
        programs.execution_request(
            request,
            num_cpus=sandbox_size.cpus,
            benchmark_python=programs.required_python(run.recipe),
        ),
        report=ExecutionReport,
        code_version=CODE_VERSION,
        size=sandbox_size,
    )
    programs.write_executions(request, executed.report)
    rows = results.write_results(request)
    return StageResult(
        stats=results.stats(rows, measured.report, executed.report),
        metadata={
            "results": dg.MetadataValue.md(asset_metadata.results_table(rows)),
            "generation": generation_speed(generated.reports),
            "bits_per_byte": asset_metadata.bits_per_byte_plot(rows),
            **programs.timings(executed.report),
        },
    )
