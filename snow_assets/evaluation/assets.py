"""Wiring of the evaluation: one asset, a partition per checkpoint."""

from typing import Any

import dagster as dg

from snow_assets import sandbox, shards
from snow_assets.evaluation import answers, figures, results
from snow_assets.evaluation.contract import Evaluation, Executed, Measured
from snow_assets.materialize import Made, check_result, materialize, upstream, upstreams
from snow_assets.recipe import PHASES, Recipe, WorkerMemory
from snow_resources.gpu_jobs import GpuJobs, JobSize
from snow_resources.lake import Lake
from snow_resources.tracking import Tracking

CODE_VERSION = "4"

checkpoints = dg.StaticPartitionsDefinition(PHASES)


@dg.asset(
    group_name="evaluation",
    partitions_def=checkpoints,
    kinds={"pytorch", "parquet"},
    deps=[
        # All three, since a partition cannot choose its parents; it reads the one it is named for.
        "general_checkpoint",
        "continued_checkpoint",
        "enhanced_checkpoint",
        "tokenizer",
        "benchmark_problems",
        dg.AssetDep("clean_corpus", partition_mapping=dg.AllPartitionMapping()),
    ],
)
def benchmark_results(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    jobs: GpuJobs,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """How good a checkpoint is, each value with its 95 % interval.

    Bits per byte of held-out repositories by language and of canonical solutions; pass@1 of the
    programs that it writes, run in a sandbox. Where no sandbox can be had, pass@1 is "not run".
    """
    checkpoint = upstream(lake, recipe, f"{context.partition_key}_checkpoint")
    tokenizer = upstream(lake, recipe, "tokenizer")
    problems = upstream(lake, recipe, "benchmark_problems")
    corpora = [
        upstream(lake, recipe, "clean_corpus", language) for language in recipe.curation.languages
    ]
    isolation = jobs.sandbox_level() or sandbox.probe().level

    def work(folder: str) -> Made:
        request = Evaluation(
            checkpoint=context.partition_key,
            checkpoint_folder=checkpoint.folder,
            tokenizer=tokenizer.folder,
            corpora={corpus.partition: corpus.folder for corpus in corpora},
            problems=problems.folder,
            output=folder,
            precision=recipe.pretraining.precision,
            recipe=recipe.evaluation,
        )
        return _evaluated(context, jobs, request, recipe.operation.worker_memory)

    # The isolation is part of the address, so that "not run" is no last word: where a sandbox can
    # be had later, the programs run.
    settings = {
        "evaluation": recipe.evaluation,
        "precision": recipe.pretraining.precision,
        "isolation": isolation,
    }
    inputs = [checkpoint, tokenizer, problems, *corpora]
    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version=CODE_VERSION,
        settings=settings,
        inputs=inputs,
        work=work,
    )


def _evaluated(
    context: dg.AssetExecutionContext,
    jobs: GpuJobs,
    request: Evaluation,
    worker_memory: WorkerMemory,
) -> Made:
    """Measure, run what was written, and sum up."""
    measured = jobs.run(
        context,
        "snow_assets.evaluation.measuring",
        request,
        report=Measured,
        code_version=CODE_VERSION,
        size=JobSize(
            gpus=request.recipe.gpus,
            cpus=request.recipe.threads,
            memory_gib=worker_memory.evaluation_gib,
        ),
    )
    executed = jobs.run(
        context,
        "snow_assets.evaluation.execution",
        answers.asked(request),
        report=Executed,
        code_version=CODE_VERSION,
        size=JobSize(environment="sandbox", memory_gib=worker_memory.sandbox_gib),
    )
    answers.put_answers(request, executed.report)
    rows = results.put_results(request)
    return Made(
        facts=results.facts(rows, measured.report, executed.report),
        metadata={
            "results": dg.MetadataValue.md(figures.results_table(rows)),
            "bits_per_byte": figures.bits_picture(rows),
            **answers.timings(executed.report),
        },
    )


def _rows(lake: Lake, recipe: Recipe) -> list[dict[str, Any]]:
    folders = [made.folder for made in upstreams(lake, recipe, "benchmark_results")]
    return [row for folder in folders for row in shards.read(folder, "results").to_pylist()]


@dg.asset_check(asset=benchmark_results)
def canonical_solutions_passed(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """The benchmark's own solutions pass in the sandbox; a warning where there is no sandbox."""
    made = upstreams(lake, recipe, "benchmark_results")
    facts = [shards.manifest(each.folder).facts for each in made]
    return check_result(results.canonical_faults(facts), dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset=benchmark_results, blocking=True)
def intervals_hold_their_values(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """Every value lies in its own 95 % interval, and every share in [0, 1]."""
    return check_result(results.outside_interval(_rows(lake, recipe)))


@dg.asset_check(asset=benchmark_results, blocking=True)
def results_are_complete(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """Every measure of every language and half is there, or says why it is not."""
    return check_result(results.missing(_rows(lake, recipe), languages=recipe.curation.languages))
