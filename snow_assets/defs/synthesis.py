"""Stages of synthesis: the teacher, its completions, and the files that are accepted from them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import dagster as dg

from snow_assets.corpus import opt_outs as opted_out
from snow_assets.defs.corpus import benchmark_problems, opt_outs, raw_code_corpus
from snow_assets.defs.curation import clean_corpus, gate_config, tokenizer
from snow_assets.defs.documents import documents
from snow_assets.defs.selection import high_quality_subset
from snow_assets.recipe import Recipe
from snow_assets.runtime import worker
from snow_assets.runtime.generation_report import GenerationReport, generation_speed
from snow_assets.stages import (
    CostModel,
    Input,
    StageInputs,
    StageResult,
    StageRun,
    StageTable,
    stage,
)
from snow_assets.storage import shards
from snow_assets.storage.schemas.synthesis import (
    SYNTHETIC_DOCUMENT,
    SYNTHETIC_REFUSAL,
    SYNTHETIC_SEED,
)
from snow_assets.storage.sizes import Size
from snow_assets.synthesis import teacher as teachers
from snow_assets.synthesis.contract import (
    ConversionReport,
    ConversionRequest,
    FileExecution,
    FileExecutionReport,
    FileExecutionRequest,
    GenerationRequest,
)
from snow_assets.synthesis.prompts import PROMPT_VERSIONS, prompt_version
from snow_resources.gpu_jobs import JobSize

CODE_VERSION = "3"
COMPLETIONS_CODE_VERSION = "4"
EXECUTION_CODE_VERSION = "2"


@stage(
    group="synthesis",
    code_version=CODE_VERSION,
    config=lambda inputs: teachers.describe(inputs.recipe.synthesis),
    kinds={"huggingface"},
    resources={"jobs"},
    cost=CostModel(stored_fraction=None),
)
def teacher_model(run: StageRun) -> StageResult:
    """The model that writes synthetic files: its weights' digest, and a folder that vLLM serves."""
    described = teachers.describe(run.recipe.synthesis)
    stats = teachers.write_teacher(run.folder, described)
    return StageResult(stats={**stats, **_converted(run, described)})


def _converted(run: StageRun, described: dict[str, str]) -> dict[str, int]:
    """A packaged model is turned into a Hugging Face folder; others are used where they are."""
    if described["kind"] != "package":
        return {}
    request = ConversionRequest(
        package=described["model"], sha256=described["sha256"], output=run.folder
    )
    done = run.jobs.run(
        run.context,
        "snow_assets.synthesis.conversion",
        request,
        report=ConversionReport,
        code_version=CODE_VERSION,
        size=JobSize(memory_gib=run.recipe.operation.worker_memory.conversion_gib),
    )
    return {"num_parameters": done.report.num_parameters}


def _max_completion_tokens(recipe: Recipe) -> float:
    return recipe.synthesis.num_requests * recipe.synthesis.max_new_tokens


def _generation_seconds(recipe: Recipe, _: Size) -> float:
    rate = recipe.operation.generation_tokens_per_second
    return _max_completion_tokens(recipe) / rate / max(1, recipe.synthesis.gpus)


def _completions_config(inputs: StageInputs) -> Any:
    recipe = inputs.recipe
    return {
        "synthesis": recipe.synthesis.generation,
        "prompt_version": prompt_version(recipe.synthesis.modes),
        **gate_config(recipe),
    }


@stage(
    group="synthesis",
    code_version=COMPLETIONS_CODE_VERSION,
    inputs=(
        Input(stage=high_quality_subset, missing_ok=True),
        Input(stage=clean_corpus, missing_ok=True),
        Input(stage=benchmark_problems),
        Input(stage=teacher_model),
    ),
    config=_completions_config,
    tables=(
        StageTable(
            name="seeds",
            schema=SYNTHETIC_SEED,
            repository_column="seed_repository",
            is_dbt_source=False,
        ),
    ),
    kinds={"vllm"},
    resources={"jobs", "teacher"},
    cost=CostModel(
        gpus=lambda recipe: recipe.synthesis.gpus,
        model_tokens=_max_completion_tokens,
        past_model_tokens=lambda config: (
            float(config["synthesis"]["num_requests"]) * config["synthesis"]["max_new_tokens"]
        ),
        seconds=_generation_seconds,
    ),
)
def synthetic_completions(run: StageRun) -> StageResult:
    """What the teacher wrote, each completion beside its seed; not accepted or refused yet."""
    from snow_assets.curation.decontamination.exemptions import exempt_document_ids
    from snow_assets.curation.decontamination.gate import assert_uncontaminated
    from snow_assets.synthesis import seeds

    subsets = run.inputs(high_quality_subset)
    folders = {clean.partition: clean.folder for clean in run.inputs(clean_corpus)}
    clean = [folders[subset.partition] for subset in subsets]
    selected = seeds.read_selections([subset.folder for subset in subsets], clean)
    synthesis = run.recipe.synthesis
    texts = seeds.write_seeds(
        run.folder, selected, recipe=synthesis, prompt_version=prompt_version(synthesis.modes)
    )
    assert_uncontaminated(
        texts,
        shards.read(run.input(benchmark_problems).folder, "problems"),
        window_tokens=run.recipe.curation.contamination.gate_window_tokens,
        exempt=exempt_document_ids(clean, run.recipe.curation.contamination_exemptions),
    )
    return _generated(run)


def _generated(run: StageRun) -> StageResult:
    from snow_assets.synthesis import seeds

    synthesis = run.recipe.synthesis
    request = GenerationRequest(
        output=run.folder,
        teacher=teachers.teacher_location(run.input(teacher_model).folder),
        endpoint_url=run.resources["teacher"].address(synthesis.engine),
        endpoint=run.recipe.operation.endpoint,
        recipe=synthesis,
        prompt_version=prompt_version(synthesis.modes),
    )
    done = run.jobs.run(
        run.context,
        "snow_assets.synthesis.generation",
        request,
        report=GenerationReport,
        code_version=COMPLETIONS_CODE_VERSION,
        size=worker_size(run.recipe),
    )
    return StageResult(
        stats=seeds.completion_stats(run.folder),
        metadata={"speed": generation_speed(done.reports)},
        metrics=worker.read_attempts(done.folder),
    )


def worker_size(recipe: Recipe) -> JobSize:
    """vLLM has an environment of its own; calling an endpoint takes no GPU and no vLLM."""
    memory_gib = recipe.operation.worker_memory.synthesis_gib
    if recipe.synthesis.engine == "endpoint":
        return JobSize(memory_gib=memory_gib)
    num_parts = -(-recipe.synthesis.num_requests // recipe.synthesis.part_requests)
    return JobSize(
        gpus=recipe.synthesis.gpus, memory_gib=memory_gib, environment="vllm", parts=num_parts
    )


def _opted_out_seeds(run: StageRun) -> frozenset[str]:
    """The opt-out list, and the names that the seeds' sources have for what it lists."""
    from snow_assets.corpus.ingested_names import with_ingested_names

    folders = [run.input(synthetic_completions).folder]
    for read in (clean_corpus, documents, raw_code_corpus):
        folders = [
            folder
            for artifact in folders
            if shards.is_finished(artifact)
            for folder in shards.input_folders(artifact, read.name)
        ]
    return with_ingested_names(opted_out.read(run.input(opt_outs).folder), sorted(set(folders)))


def _executed(run: StageRun, programs: Sequence[str]) -> Sequence[FileExecution]:
    """Outcomes of generated programs in the sandbox, as a job of its own for each chunk."""
    num_cpus = run.recipe.operation.sandbox_cpus
    done = run.jobs.run(
        run.context,
        "snow_assets.synthesis.execution",
        FileExecutionRequest(
            programs=tuple(programs),
            timeout_seconds=run.recipe.acceptance.execution_timeout_seconds,
            num_cpus=num_cpus,
        ),
        report=FileExecutionReport,
        code_version=EXECUTION_CODE_VERSION,
        size=JobSize(
            environment="sandbox",
            cpus=num_cpus,
            memory_gib=run.recipe.operation.worker_memory.sandbox_gib,
        ),
        unaddressed_fields=("num_cpus",),
    )
    executions: Sequence[FileExecution] = done.report.executions
    return executions


def _set_config(inputs: StageInputs) -> Any:
    recipe = inputs.recipe
    return {
        "acceptance": recipe.acceptance.config,
        "near_duplicates": recipe.curation.near_duplicates,
        "contamination": recipe.curation.contamination,
        **recipe.synthesis.terms,
    }


@stage(
    group="synthesis",
    code_version="7",
    inputs=(
        Input(stage=synthetic_completions),
        Input(stage=benchmark_problems),
        Input(stage=tokenizer),
        Input(stage=opt_outs),
    ),
    config=_set_config,
    tables=(
        StageTable(
            name="documents", schema=SYNTHETIC_DOCUMENT, repository_column="seed_repository"
        ),
        StageTable(name="refusals", schema=SYNTHETIC_REFUSAL),
    ),
    kinds={"parquet"},
    runs_jobs=lambda recipe: recipe.acceptance.execution == "required",
    cost=CostModel(output_tokens=_max_completion_tokens),
)
def synthetic_set(run: StageRun) -> StageResult:
    """New files in the spirit of good ones: parsed, decontaminated, deduplicated; each names its
    seed. What was refused is kept with its reason."""
    from snow_assets.curation.tokenizer.tokens import load_tokenizer
    from snow_assets.synthesis import acceptance, asset_metadata

    recipe = run.recipe
    filters = acceptance.AcceptanceFilters(
        recipe=recipe.acceptance,
        near_duplicates=recipe.curation.near_duplicates,
        contamination=recipe.curation.contamination,
        problems=shards.read(run.input(benchmark_problems).folder, "problems"),
        tokenizer=load_tokenizer(run.input(tokenizer).folder),
        opted_out=_opted_out_seeds(run),
        run_programs=None if recipe.acceptance.execution == "off" else partial(_executed, run),
    )
    source = acceptance.CompletionSource(
        folder=run.input(synthetic_completions).folder,
        prompt_versions={mode: PROMPT_VERSIONS[mode] for mode in recipe.synthesis.modes},
        model=recipe.synthesis.model,
        model_license=recipe.synthesis.model_license,
        model_terms=recipe.synthesis.model_terms,
    )
    return StageResult(
        stats={
            **acceptance.accept_completions(source, run.folder, filters),
            "model": recipe.synthesis.model,
            **recipe.synthesis.terms,
        },
        metadata={
            "yield": dg.MetadataValue.md(asset_metadata.yield_table(run.folder)),
            "yield_plot": asset_metadata.yield_plot(run.folder),
            "examples": dg.MetadataValue.md(asset_metadata.examples_markdown(run.folder)),
        },
    )


def _dataset_config(inputs: StageInputs) -> Any:
    """What the card says and the set's digest does not cover."""
    return {"completions": _completions_config(inputs), "set": _set_config(inputs)}


@stage(
    group="synthesis",
    code_version="1",
    inputs=(Input(stage=synthetic_set),),
    config=_dataset_config,
    kinds={"huggingface"},
    cost=CostModel(output_tokens=_max_completion_tokens),
)
def synthetic_dataset(run: StageRun) -> StageResult:
    """The accepted synthetic files as a data set folder, with data card and attribution."""
    from snow_assets.synthesis.export import export_synthetic

    return StageResult(stats=export_synthetic(run.input(synthetic_set).folder, run.folder))
