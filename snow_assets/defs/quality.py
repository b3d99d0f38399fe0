"""Stages of quality: what annotators learn from, annotators, scores."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import dagster as dg

from snow_assets.defs.corpus import benchmark_problems, exemplars
from snow_assets.defs.curation import clean_corpus
from snow_assets.quality.contract import (
    AnnotatorReport,
    AnnotatorTrainingRequest,
    ScoringReport,
    ScoringRequest,
)
from snow_assets.recipe import Recipe, annotator_values, chosen_recipe
from snow_assets.runtime import worker
from snow_assets.stages import (
    CostModel,
    Input,
    Partitions,
    Stage,
    StageInputs,
    StageResult,
    StageRun,
    StageTable,
    stage,
)
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import DROP
from snow_assets.storage.schemas.quality import (
    ANNOTATOR_GATE,
    EXAMPLE,
    GRADED_EXAMPLE,
    GRADED_TEXT,
    RANK_CORRELATION,
    SCORE,
)
from snow_assets.storage.sizes import Size
from snow_resources.gpu_jobs import JobSize
from snow_resources.tracking import TrackedModel


def _graded_texts_config(inputs: StageInputs) -> Any:
    from snow_assets.quality import grades

    recipe = inputs.recipe
    table = grades.table_named(recipe.grade_tables, inputs.partition)
    return {
        "table": {name: value for name, value in vars(table).items() if name != "weight"},
        "snapshot": grades.snapshot(table),
        "max_file_bytes": recipe.corpus.max_file_bytes,
        "archives": recipe.corpus.archives,
        "languages": recipe.curation.languages,
        "contamination": recipe.curation.contamination,
    }


@stage(
    group="quality",
    code_version="1",
    inputs=(Input(stage=clean_corpus), Input(stage=benchmark_problems)),
    config=_graded_texts_config,
    partitions=Partitions.GRADE_TABLES,
    tables=(
        StageTable(
            name="texts",
            schema=GRADED_TEXT,
            repository_column="repository",
            is_dbt_source=False,
        ),
        StageTable(name="drops", schema=DROP, is_dbt_source=False),
    ),
    kinds={"parquet"},
    automation="always",
    cost=CostModel(stored_fraction=None),
)
def graded_texts(run: StageRun) -> StageResult:
    """A table of texts graded by people or a model, without benchmark problems and held-out
    documents."""
    from snow_assets.quality import asset_metadata, grades

    stats = grades.write(
        run.folder,
        table=grades.table_named(run.recipe.grade_tables, run.partition),
        corpus=run.recipe.corpus,
        languages=run.recipe.curation.languages,
        clean_folders=run.folders(clean_corpus),
        problems=shards.read(run.input(benchmark_problems).folder, "problems"),
        contamination=run.recipe.curation.contamination,
    )
    return StageResult(
        stats=stats, metadata={"counts": dg.MetadataValue.md(asset_metadata.counts_table(stats))}
    )


def _examples_config(recipe: Recipe) -> Any:
    from snow_assets.quality import examples

    return {
        "drawing": examples.config(recipe.annotator, recipe.exemplars),
        "near_duplicates": recipe.curation.near_duplicates,
    }


def _worker_size(recipe: Recipe) -> JobSize:
    return JobSize(
        gpus=recipe.annotator.gpus,
        cpus=recipe.annotator.threads,
        memory_gib=recipe.operation.worker_memory.annotator_gib,
    )


def _annotator_tokens(recipe: Recipe) -> float:
    """Of three windows of each example."""
    annotator = recipe.annotator
    num_examples = annotator.max_positives * (1 + annotator.negatives_per_positive)
    return 3 * annotator.window_tokens * (num_examples + annotator.validation_negatives)


def _encoder_seconds(recipe: Recipe, output: Size) -> float:
    rate = recipe.operation.scoring_tokens_per_second
    return output.tokens / rate / max(1, recipe.annotator.gpus)


def _scoring_seconds(recipe: Recipe, output: Size) -> float:
    """The encoder reads a top, a middle and a bottom window of a document."""
    if output.documents:
        windows = 3 * recipe.annotator.window_tokens * output.documents
        output = replace(output, tokens=min(output.tokens, windows))
    return _encoder_seconds(recipe, output)


def _scored(run: StageRun, request: ScoringRequest, recipe: Recipe) -> ScoringReport:
    from snow_assets.quality import scores
    from snow_assets.quality.text_parts import TextParts

    num_parts = TextParts.of(request.clean, request.part_texts).num_parts
    done = run.jobs.run(
        run.context,
        "snow_assets.quality.scoring",
        request,
        report=ScoringReport,
        code_version="4",
        size=replace(_worker_size(recipe), parts=num_parts),
    )
    # Of the whole output: workers that shared it report each what was there when they ended.
    return scores.report(request.output, annotator=done.reports[0].annotator)


@dataclass(frozen=True, kw_only=True)
class AnnotatorStages:
    """What trains an annotator and scores the corpus with it, in order; None: the recipe's own."""

    name: str | None
    examples: Stage
    annotator: Stage
    scores: Stage

    def selects(self, recipe: Recipe) -> bool:
        """Whether the recipe selects by these scores. Others are compared, whatever gates say."""
        return recipe.selection.annotator == self.name


def annotator_stages(name: str | None) -> AnnotatorStages:
    """The stages of one of the recipe's further annotators; None: of its own one."""
    prefix = "" if name is None else f"{name}_"
    suffix = "" if name is None else f" Of the further annotator {name}."

    def recipe_of(recipe: Recipe) -> Recipe:
        return recipe if name is None else recipe.with_annotator(name)

    def of_recipe(function: Callable[..., float]) -> Callable[..., float]:
        return lambda recipe, *sizes: function(recipe_of(recipe), *sizes)

    def num_gpus(recipe: Recipe) -> int:
        return recipe_of(recipe).annotator.gpus

    def learns_grades(recipe: Recipe) -> bool:
        return recipe_of(recipe).annotator.target == "grades"

    @stage(
        name=f"{prefix}annotator_examples",
        description="What the annotator learns from: exemplars, random files, grades; split by "
        f"repository.{suffix}",
        group="quality",
        code_version="2",
        inputs=(
            Input(stage=exemplars),
            Input(stage=clean_corpus),
            Input(stage=graded_texts, applies=learns_grades),
        ),
        config=lambda inputs: _examples_config(recipe_of(inputs.recipe)),
        tables=(
            StageTable(
                name="examples",
                schema=EXAMPLE,
                repository_column="repository",
                is_dbt_source=False,
            ),
            StageTable(
                name="graded_examples",
                schema=GRADED_EXAMPLE,
                repository_column="repository",
                is_dbt_source=False,
            ),
        ),
        kinds={"parquet"},
        automation="always",
        cost=CostModel(stored_fraction=None),
    )
    def annotator_examples(run: StageRun) -> StageResult:
        from snow_assets.quality import asset_metadata, examples

        recipe = recipe_of(run.recipe)
        own_tables = {table.name for table in recipe.annotator.grades}
        stats = examples.write(
            run.folder,
            exemplars_folder=run.input(exemplars).folder,
            clean_folders=run.folders(clean_corpus),
            recipe=recipe.annotator,
            exemplars=recipe.exemplars,
            near_duplicates=recipe.curation.near_duplicates,
            graded_folders=[
                artifact.folder
                for artifact in run.inputs(graded_texts)
                if artifact.partition in own_tables
            ],
        )
        counts = dg.MetadataValue.md(asset_metadata.counts_table(stats))
        return StageResult(stats=stats, metadata={"counts": counts})

    def annotator_config(inputs: StageInputs) -> Any:
        from snow_assets.quality.gate import require_solutions

        if stages.selects(inputs.recipe):
            require_solutions(inputs.recipe.evaluation.benchmarks)
        return {"annotator": annotator_values(recipe_of(inputs.recipe).annotator)}

    @stage(
        name=f"{prefix}quality_annotator",
        description="A frozen encoder with a linear head that ranks files by quality, and its "
        f"gate.{suffix}",
        group="quality",
        code_version="6",
        inputs=(Input(stage=annotator_examples), Input(stage=benchmark_problems)),
        config=annotator_config,
        tables=(
            StageTable(name="gates", schema=ANNOTATOR_GATE, dbt_source="quality_annotator"),
            StageTable(
                name="rank_correlations",
                schema=RANK_CORRELATION,
                dbt_source="quality_annotator",
            ),
        ),
        kinds={"openvino", "safetensors"},
        resources={"jobs"},
        automation="if missing",
        holds_text=False,
        cost=CostModel(
            gpus=num_gpus,
            output_tokens=of_recipe(_annotator_tokens),
            seconds=of_recipe(_encoder_seconds),
        ),
    )
    def quality_annotator(run: StageRun) -> StageResult:
        from snow_assets.quality import asset_metadata
        from snow_assets.quality.stats import annotator_stats

        recipe = recipe_of(run.recipe)
        request = AnnotatorTrainingRequest(
            examples=run.input(annotator_examples).folder,
            problems=run.input(benchmark_problems).folder,
            output=run.folder,
            recipe=recipe.annotator,
        )
        job = run.jobs.run(
            run.context,
            "snow_assets.quality.training",
            request,
            report=AnnotatorReport,
            code_version="6",
            size=_worker_size(recipe),
        )
        stats = annotator_stats(job.report)
        return StageResult(
            stats=stats,
            metadata={
                "gate": dg.MetadataValue.md(asset_metadata.gates_table(job.report.annotator)),
                "separation": asset_metadata.separation_plot(run.folder),
                "job": dg.MetadataValue.path(job.folder),
            },
            metrics=worker.read_attempts(job.folder),
            model=TrackedModel(
                name=run.stage.name,
                parent=None,
                kind="annotator",
                is_promoted=stats["is_gate_passed"],
            ),
        )

    def scores_config(inputs: StageInputs) -> Any:
        from snow_assets.quality.gate import scoring_annotator
        from snow_assets.quality.scores import config

        annotator = inputs.input(quality_annotator)
        if not annotator.is_pending:  # of one that a plan expects nothing can be read yet
            scoring_annotator(annotator.folder, is_gated=stages.selects(inputs.recipe))
        return config(recipe_of(inputs.recipe))

    @stage(
        name=f"{prefix}quality_scores",
        description="A logit for each kept training file; held-out files are for evaluation and "
        "get none.\n\nOnly texts that this annotator never scored are scored, unless the recipe "
        "names a new `scoring_round`. Former annotators' scores stay in the lake, each keyed by "
        f"`text_id` and annotator.{suffix}",
        group="quality",
        code_version="4",
        inputs=(Input(stage=clean_corpus), Input(stage=quality_annotator)),
        config=scores_config,
        partitions=Partitions.LANGUAGES,
        tables=(
            StageTable(
                name="scores",
                schema=SCORE,
                dbt_source=None if name is None else "further_quality_scores",
            ),
        ),
        kinds={"openvino", "parquet"},
        resources={"jobs"},
        automation="always",
        incremental_input=clean_corpus,
        holds_text=False,
        keeps_history=True,
        cost=CostModel(gpus=num_gpus, stored_fraction=0.004, seconds=of_recipe(_scoring_seconds)),
    )
    def quality_scores(run: StageRun) -> StageResult:
        from snow_assets.quality import asset_metadata, scores
        from snow_assets.quality.gate import scoring_annotator

        annotator, recipe = run.input(quality_annotator).folder, recipe_of(run.recipe)
        request = ScoringRequest(
            clean=run.input(clean_corpus).folder,
            annotator=annotator,
            earlier=scores.finished_artifacts(
                run.lake.partition(run.stage.name, run.partition),
                scoring_round=recipe.operation.scoring_round,
            ),
            output=run.folder,
            part_texts=recipe.annotator.part_texts,
            batch_tokens=recipe.annotator.batch_tokens,
            num_threads=recipe.annotator.threads,
        )
        version = scoring_annotator(annotator, is_gated=stages.selects(run.recipe)).version
        report = scores.write_reused(request, annotator=version) or _scored(run, request, recipe)
        stats = asdict(report)
        return StageResult(
            stats=stats,
            metadata={
                "counts": dg.MetadataValue.md(asset_metadata.counts_table(stats)),
                "scores": asset_metadata.score_histogram(run.folder),
            },
        )

    stages = AnnotatorStages(
        name=name,
        examples=annotator_examples,
        annotator=quality_annotator,
        scores=quality_scores,
    )
    return stages


OWN_ANNOTATOR = annotator_stages(None)
annotator_examples = OWN_ANNOTATOR.examples
quality_annotator = OWN_ANNOTATOR.annotator
quality_scores = OWN_ANNOTATOR.scores
FURTHER_ANNOTATORS = {
    named.name: annotator_stages(named.name) for named in chosen_recipe().further_annotators
}
"""Of the recipe that `SNOW_RECIPE` names when this is imported: the graph follows it."""


def selecting_stages(recipe: Recipe) -> AnnotatorStages:
    """The stages of the annotator whose scores select."""
    name = recipe.selection.annotator
    return OWN_ANNOTATOR if name is None else FURTHER_ANNOTATORS[name]
