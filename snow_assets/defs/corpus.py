"""Stages of the corpus: opt-outs, exemplars and benchmark problems, and raw code by source."""

from typing import Any

import dagster as dg

from snow_assets.corpus import opt_outs as opted_out
from snow_assets.corpus import problems
from snow_assets.defs.materialize import current_artifacts
from snow_assets.home import configured_url
from snow_assets.recipe import Recipe
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
    as_json,
    stage,
)
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM, DROP, EXEMPLAR, RAW_FILE
from snow_resources.lake import Lake

_SMALL = CostModel(stored_fraction=None)


def opt_out_list_url(lake: Lake, recipe: Recipe) -> str:
    """Where the recipe's opt-out list is."""
    return configured_url(recipe.corpus.opt_out_list, lake=lake.url)


def raw_folders(lake: Lake, recipe: Recipe) -> dict[str, str]:
    """The folder of each materialized source, by its name."""
    return {
        raw.partition: raw.folder for raw in current_artifacts(lake, recipe, raw_code_corpus.name)
    }


def _opt_outs_config(inputs: StageInputs) -> Any:
    return {"opt_outs": opted_out.read_list(opt_out_list_url(inputs.lake, inputs.recipe))}


@stage(
    group="corpus",
    code_version="2",
    config=_opt_outs_config,
    kinds={"text"},
    automation="always",
    cost=_SMALL,
)
def opt_outs(run: StageRun) -> StageResult:
    """Repositories whose owners asked to be left out; none of them enters the corpus.

    The page lists what each line matches, and where a new one had been: shards, scores, synthetic
    children, checkpoints.
    """
    from snow_assets.corpus import opt_out_matches
    from snow_assets.defs.graph import stages_in  # the traces go through all stages, this one too
    from snow_assets.planning import opt_out_traces

    listed = opted_out.read_opt_outs(opt_out_list_url(run.lake, run.recipe))
    names = sorted({opt_out.name for opt_out in listed})
    stats = {"num_repositories": opted_out.write(run.folder, names)}
    matches = opt_out_matches.matches(run.recipe.corpus, listed, raw_folders(run.lake, run.recipe))
    traces = opt_out_traces.traces(run.lake.url, names, stages_in(run.lake.url))
    metadata = {
        "matches": dg.MetadataValue.md(opt_out_matches.markdown(matches)),
        "traces": dg.MetadataValue.md(opt_out_traces.markdown(traces)),
    }
    return StageResult(stats=stats, metadata=metadata)


def _benchmark_files(lake: Lake, recipe: Recipe) -> str | None:
    folder = recipe.operation.benchmark_files
    return None if folder is None else configured_url(folder, lake=lake.url)


@stage(
    group="corpus",
    code_version="3",
    config=lambda inputs: problems.versions(
        inputs.recipe.evaluation.benchmarks, _benchmark_files(inputs.lake, inputs.recipe)
    ),
    tables=(StageTable(name=problems.TABLE, schema=BENCHMARK_PROBLEM, is_dbt_source=False),),
    kinds={"parquet"},
    automation="always",
    cost=_SMALL,
)
def benchmark_problems(run: StageRun) -> StageResult:
    """The benchmarks' problems with solutions and tests; a marked half gates the annotator."""
    files = _benchmark_files(run.lake, run.recipe)
    return StageResult(stats=problems.write(run.folder, run.recipe.evaluation.benchmarks, files))


def _opted_out(inputs: StageInputs) -> frozenset[str]:
    """The list as the recipe took it over; a plan that will take over a newer one reads that."""
    listed = inputs.input(opt_outs)
    if listed.is_pending:
        return frozenset(opted_out.read_list(opt_out_list_url(inputs.lake, inputs.recipe)))
    return opted_out.read(listed.folder)


def _exemplars_config(inputs: StageInputs) -> Any:
    from snow_assets.corpus import opt_out_matches
    from snow_assets.quality import exemplars as positives

    recipe, opted_out_names = inputs.recipe, _opted_out(inputs)
    return {
        "groups": positives.config(recipe.exemplars),
        "snapshots": positives.snapshots(recipe.exemplars, recipe.corpus),
        "opted_out": {
            group.name: opt_out_matches.matching_names(group.source, recipe.corpus, opted_out_names)
            for group in recipe.exemplars.file_groups
        },
        "permissive_licenses": recipe.corpus.permissive_licenses,
        "max_file_bytes": recipe.corpus.max_file_bytes,
        "archives": recipe.corpus.archives,
        "languages": recipe.curation.languages,
        "contamination": recipe.curation.contamination,
    }


@stage(
    group="corpus",
    code_version="2",
    inputs=(Input(stage=opt_outs, is_fingerprinted=False), Input(stage=benchmark_problems)),
    config=_exemplars_config,
    tables=(
        StageTable(
            name="exemplars",
            schema=EXEMPLAR,
            repository_column="repository",
            is_dbt_source=False,
        ),
        StageTable(name="drops", schema=DROP, is_dbt_source=False),
    ),
    kinds={"parquet"},
    automation="always",
    cost=_SMALL,
)
def exemplars(run: StageRun) -> StageResult:
    """Good code for the annotator, in the recipe's groups: files, docstrings with their functions,
    instructions with responses; never in the corpus."""
    from snow_assets.quality import exemplars as positives

    recipe = run.recipe
    stats = positives.write(
        run.folder,
        recipe=recipe.exemplars,
        corpus=recipe.corpus,
        languages=recipe.curation.languages,
        problems=shards.read(run.input(benchmark_problems).folder, problems.TABLE),
        contamination=recipe.curation.contamination,
        opted_out=_opted_out(run),
    )
    return StageResult(stats=stats)


def _raw_config(inputs: StageInputs) -> Any:
    from snow_assets.corpus import opt_out_matches
    from snow_assets.corpus.exemplar_repositories import matching_exemplars
    from snow_assets.corpus.sources import license_violations, snapshot, source_named

    recipe = inputs.recipe
    if violations := license_violations(recipe.corpus):
        raise ValueError("; ".join(violations))
    source = source_named(recipe.corpus, inputs.partition)
    return {
        "source": source,
        "snapshot": snapshot(source, recipe.corpus),
        # Not the whole list: an opt-out reads only those sources again that hold it.
        "opted_out": opt_out_matches.matching_names(source, recipe.corpus, _opted_out(inputs)),
        "exemplars": matching_exemplars(source, recipe.exemplars, recipe.corpus),
        "languages": recipe.curation.languages,
        "permissive_licenses": recipe.corpus.permissive_licenses,
        "max_file_bytes": recipe.corpus.max_file_bytes,
        "archives": recipe.corpus.archives,
        "shard_bytes": recipe.corpus.shard_bytes,
    }


@stage(
    group="corpus",
    code_version="10",
    inputs=(
        Input(stage=opt_outs, is_fingerprinted=False),
        Input(stage=exemplars, is_fingerprinted=False),
    ),
    config=_raw_config,
    partitions=Partitions.SOURCES,
    tables=(
        StageTable(name="files", schema=RAW_FILE, repository_column="repository"),
        StageTable(name="drops", schema=DROP),
    ),
    kinds={"parquet"},
    is_distributed=always,
    automation="always",
    cost=CostModel(stored_fraction=0.23),
)
def raw_code_corpus(run: StageRun) -> StageResult:
    """Code as received, each file under a permissive licence, and what was refused and why."""
    from snow_assets.corpus import validation
    from snow_assets.corpus.exemplar_repositories import exemplar_repositories
    from snow_assets.corpus.ingest import ingest
    from snow_assets.corpus.source_rows import Gate
    from snow_assets.corpus.sources import snapshot, source_named

    recipe = run.recipe
    source = source_named(recipe.corpus, run.partition)
    # A Job's pods may have other distributions, or another folder, than the run that planned it.
    if as_json(snapshot(source, recipe.corpus)) != run.config["snapshot"]:
        raise ValueError(
            f"source {source.name} is another snapshot here than the one that was planned: it has "
            "changed since, or the Job's image has other versions of it; materialize it again, or "
            "give both the same"
        )
    with open_exchange() as exchange:
        stats = ingest(
            run.folder,
            source,
            recipe=recipe.corpus,
            languages=recipe.curation.languages,
            gate=Gate(
                opted_out=_opted_out(run),
                exemplars=exemplar_repositories(recipe.exemplars, recipe.corpus),
            ),
            exchange=exchange,
        )
    return StageResult(
        stats=stats, metadata={"counts": dg.MetadataValue.md(validation.markdown(stats))}
    )
