"""Quality as assets: what the annotator learns from, the annotator, scores, the best of it."""

from dataclasses import replace
from typing import Any

import dagster as dg

from snow_assets import worker
from snow_assets.corpus.assets import benchmark_problems, exemplars
from snow_assets.curation.assets import clean_corpus, languages
from snow_assets.materialize import Made, Upstream, materialize, upstream
from snow_assets.quality import examples, pictures, scores, selection
from snow_assets.quality.contract import (
    AnnotatorReport,
    AnnotatorTraining,
    Scoring,
    ScoringReport,
)
from snow_assets.quality.export import export_selected
from snow_assets.quality.facts import annotator_facts, scoring_facts, train_tokens
from snow_assets.quality.gate import refuse_failed_gate
from snow_assets.recipe import Recipe
from snow_resources.gpu_jobs import GpuJobs, JobSize
from snow_resources.lake import Lake
from snow_resources.tracking import TrackedModel, Tracking

_every_language = dg.AssetDep(clean_corpus, partition_mapping=dg.AllPartitionMapping())


@dg.asset(group_name="quality", kinds={"parquet"}, deps=[exemplars, _every_language])
def annotator_examples(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """What the annotator learns from: exemplars, and random files; split by repository."""
    good, clean = upstream(lake, recipe, "exemplars"), _clean(lake, recipe)
    near = recipe.curation.near_duplicates

    def work(folder: str) -> Made:
        facts = examples.write(
            folder,
            exemplars_folder=good.folder,
            clean_folders=[one.folder for one in clean],
            recipe=recipe.annotator,
            near_duplicates=near,
        )
        return Made(facts=facts, metadata={"counts": dg.MetadataValue.md(pictures.counts(facts))})

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="1",
        settings={"drawing": examples.settings(recipe.annotator), "near_duplicates": near},
        inputs=[good, *clean],
        work=work,
    )


@dg.asset(
    group_name="quality",
    kinds={"pytorch", "safetensors"},
    deps=[annotator_examples, benchmark_problems],
)
def quality_annotator(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    jobs: GpuJobs,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """A frozen BERT-style encoder with a linear head that ranks files by quality, and its gate."""
    drawn = upstream(lake, recipe, "annotator_examples")
    known = upstream(lake, recipe, "benchmark_problems")

    def work(folder: str) -> Made:
        request = AnnotatorTraining(
            examples=drawn.folder, problems=known.folder, output=folder, recipe=recipe.annotator
        )
        job = jobs.run(
            context,
            "snow_assets.quality.training",
            request,
            report=AnnotatorReport,
            code_version="3",
            size=_size(recipe),
        )
        metadata = {
            "gate": dg.MetadataValue.md(pictures.gates(job.report.annotator.gates)),
            "separation": pictures.separation(folder),
            "job": dg.MetadataValue.path(job.folder),
        }
        facts = annotator_facts(job.report)
        return Made(
            facts=facts,
            metadata=metadata,
            metrics=worker.read_attempts(job.folder),
            model=TrackedModel(
                name="quality_annotator",
                parent=None,
                kind="annotator",
                is_promoted=facts["is_gate_passed"],
            ),
        )

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="3",
        settings={"annotator": recipe.annotator},
        inputs=[drawn, known],
        work=work,
    )


@dg.asset(
    group_name="quality",
    partitions_def=languages,
    kinds={"pytorch", "parquet"},
    deps=[clean_corpus, quality_annotator],
    tags={"snow/incremental": "clean_corpus"},
)
def quality_scores(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    jobs: GpuJobs,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """A logit for each kept training file; held-out files are for evaluation and get none.

    Only texts that this annotator never scored are scored, unless the recipe names a new
    `scoring_round`. Other annotators' scores stay in the lake, each keyed by `text_id` and
    annotator.
    """
    clean = upstream(lake, recipe, "clean_corpus", context.partition_key)
    annotator = upstream(lake, recipe, "quality_annotator")
    version = refuse_failed_gate(annotator.folder).version

    def work(folder: str) -> Made:
        request = Scoring(
            clean=clean.folder,
            annotator=annotator.folder,
            earlier=scores.generations(
                lake.partition("quality_scores", context.partition_key),
                scoring_round=recipe.operation.scoring_round,
            ),
            output=folder,
            part_texts=recipe.annotator.part_texts,
            batch_tokens=recipe.annotator.batch_tokens,
            num_threads=recipe.annotator.threads,
        )
        report = scores.put_reused(request, annotator=version) or _scored(
            context, jobs, recipe, request
        )
        facts = scoring_facts(report)
        metadata = {
            "counts": dg.MetadataValue.md(pictures.counts(facts)),
            "scores": pictures.score_histogram(folder),
        }
        return Made(facts=facts, metadata=metadata)

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="3",
        settings=scores.settings(recipe),
        inputs=[clean, annotator],
        work=work,
    )


@dg.asset(
    group_name="quality",
    partitions_def=languages,
    kinds={"parquet"},
    # Of all languages: the budget is shared by their tokens.
    deps=[_every_language, quality_scores],
)
def high_quality_subset(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """Every trainable file of a language, ranked, and how often the recipe repeats it."""
    language = context.partition_key
    clean = upstream(lake, recipe, "clean_corpus", language)
    scored = upstream(lake, recipe, "quality_scores", language)
    tokens = _tokens(lake, recipe)

    def work(folder: str) -> Made:
        facts = selection.write(
            folder,
            clean_folder=clean.folder,
            scores_folder=scored.folder,
            language=language,
            language_tokens=tokens,
            recipe=recipe.selection,
        )
        metadata = {
            "counts": dg.MetadataValue.md(pictures.counts(facts)),
            "curve": pictures.selection_curve(folder),
            "best": dg.MetadataValue.md(pictures.best_documents(folder, rows=20)),
        }
        return Made(facts=facts, metadata=metadata)

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="1",
        settings={"selection": recipe.selection, "language_tokens": tokens},
        inputs=[clean, scored],
        work=work,
    )


@dg.asset(
    group_name="quality",
    partitions_def=languages,
    kinds={"huggingface"},
    deps=[clean_corpus, high_quality_subset],
)
def high_quality_dataset(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """The selected files of a language as a data set folder, with data card and attribution."""
    language = context.partition_key
    clean = upstream(lake, recipe, "clean_corpus", language)
    subset = upstream(lake, recipe, "high_quality_subset", language)
    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="2",
        settings={},
        inputs=[clean, subset],
        work=lambda folder: Made(
            facts=export_selected(clean.folder, subset.folder, folder, language=language)
        ),
    )


def _clean(lake: Lake, recipe: Recipe) -> list[Upstream]:
    """Each language's clean corpus; FileNotFoundError if one was never materialized."""
    return [upstream(lake, recipe, "clean_corpus", name) for name in recipe.curation.languages]


def _tokens(lake: Lake, recipe: Recipe) -> dict[str, int]:
    return train_tokens({one.partition: one.folder for one in _clean(lake, recipe)})


def _size(recipe: Recipe) -> JobSize:
    return JobSize(
        gpus=recipe.annotator.gpus,
        cpus=recipe.annotator.threads,
        memory_gib=recipe.operation.worker_memory.annotator_gib,
    )


def _scored(
    context: dg.AssetExecutionContext, jobs: GpuJobs, recipe: Recipe, request: Scoring
) -> ScoringReport:
    num_parts = len(scores.parts(scores.text_ids(request.clean), request.part_texts))
    done = jobs.run(
        context,
        "snow_assets.quality.scoring",
        request,
        report=ScoringReport,
        code_version="3",
        size=replace(_size(recipe), parts=num_parts),
    )
    # Of the whole output: pods that shared the work report each what was there when they ended.
    return scores.report(request.output, annotator=done.reports[0].annotator)
