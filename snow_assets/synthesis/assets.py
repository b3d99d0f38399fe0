"""Synthesis as assets: the teacher, its answers, and the files that are accepted from them."""

from typing import Any

import dagster as dg

from snow_assets import shards, worker
from snow_assets.corpus import opt_outs
from snow_assets.curation.contamination_gate import assert_uncontaminated
from snow_assets.curation.exemptions import exempt_document_ids
from snow_assets.curation.tokens import load_tokenizer
from snow_assets.materialize import Made, check_result, materialize, upstream, upstreams
from snow_assets.recipe import Recipe
from snow_assets.synthesis import acceptance, seeds, shown
from snow_assets.synthesis import teacher as teachers
from snow_assets.synthesis.contract import Conversion, Converted, Generated, Generation
from snow_assets.synthesis.prompts import PROMPT_VERSION
from snow_resources.gpu_jobs import GpuJobs, JobSize
from snow_resources.lake import Lake
from snow_resources.teacher import Teacher
from snow_resources.tracking import Tracking

CODE_VERSION = "2"


@dg.asset(group_name="synthesis", kinds={"huggingface"})
def teacher_model(
    context: dg.AssetExecutionContext,
    lake: Lake,
    jobs: GpuJobs,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """The model that writes synthetic files: its weights' digest, and a folder that vLLM serves."""
    described = teachers.describe(recipe.synthesis)

    def work(folder: str) -> Made:
        facts = teachers.put_teacher(folder, described)
        memory_gib = recipe.operation.worker_memory.conversion_gib
        report = _converted(context, jobs, described, folder, memory_gib=memory_gib)
        return Made(facts={**facts, **report})

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version=CODE_VERSION,
        settings=described,
        inputs=[],
        work=work,
    )


def _converted(
    context: dg.AssetExecutionContext,
    jobs: GpuJobs,
    described: dict[str, str],
    folder: str,
    *,
    memory_gib: int,
) -> dict[str, int]:
    """A packaged model is turned into a Hugging Face folder; others are used where they are."""
    if described["kind"] != "package":
        return {}
    request = Conversion(package=described["model"], sha256=described["sha256"], output=folder)
    done = jobs.run(
        context,
        "snow_assets.synthesis.conversion",
        request,
        report=Converted,
        code_version=CODE_VERSION,
        size=JobSize(memory_gib=memory_gib),
    )
    return {"num_parameters": done.report.num_parameters}


@dg.asset(
    group_name="synthesis",
    kinds={"vllm"},
    deps=["high_quality_subset", "clean_corpus", "benchmark_problems", teacher_model],
)
def synthetic_answers(
    context: dg.AssetExecutionContext,
    lake: Lake,
    jobs: GpuJobs,
    teacher: Teacher,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """What the teacher wrote, each answer beside the seed it was asked with; not judged yet."""
    subsets = upstreams(lake, recipe, "high_quality_subset")
    clean = [upstream(lake, recipe, "clean_corpus", made.partition) for made in subsets]
    known = upstream(lake, recipe, "benchmark_problems")
    model = upstream(lake, recipe, "teacher_model")
    window = recipe.curation.contamination.gate_window_tokens
    exemptions = recipe.curation.contamination_exemptions

    def work(folder: str) -> Made:
        selected = seeds.selections(
            [made.folder for made in subsets], [made.folder for made in clean]
        )
        texts = seeds.put_seeds(
            folder, selected, recipe=recipe.synthesis, prompt_version=PROMPT_VERSION
        )
        assert_uncontaminated(
            texts,
            shards.read(known.folder, "problems"),
            window_tokens=window,
            exempt=exempt_document_ids([given.folder for given in clean], exemptions),
        )
        return _generated(context, jobs, recipe, teacher, folder, model.folder)

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version=CODE_VERSION,
        settings={
            "synthesis": recipe.synthesis,
            "prompt_version": PROMPT_VERSION,
            "gate_window_tokens": window,
            "contamination_exemptions": exemptions,
        },
        inputs=[*subsets, *clean, known, model],
        work=work,
    )


def _generated(
    context: dg.AssetExecutionContext,
    jobs: GpuJobs,
    recipe: Recipe,
    teacher: Teacher,
    folder: str,
    model_folder: str,
) -> Made:
    request = Generation(
        output=folder,
        teacher=teachers.teacher_address(model_folder),
        endpoint=teacher.address(recipe.synthesis.engine),
        recipe=recipe.synthesis,
        prompt_version=PROMPT_VERSION,
    )
    done = jobs.run(
        context,
        "snow_assets.synthesis.generation",
        request,
        report=Generated,
        code_version=CODE_VERSION,
        size=size_of(recipe),
    )
    return Made(
        facts=seeds.answer_facts(folder),
        metadata={"speed": shown.speed(shown.together(done.reports), done.seconds)},
        metrics=worker.read_attempts(done.folder),
    )


def size_of(recipe: Recipe) -> JobSize:
    """vLLM has an environment of its own; asking an endpoint takes no GPU and no vLLM."""
    memory_gib = recipe.operation.worker_memory.synthesis_gib
    if recipe.synthesis.engine == "endpoint":
        return JobSize(memory_gib=memory_gib)
    num_chunks = -(-recipe.synthesis.requests // recipe.synthesis.chunk_requests)
    return JobSize(
        gpus=recipe.synthesis.gpus, memory_gib=memory_gib, environment="vllm", parts=num_chunks
    )


@dg.asset(
    group_name="synthesis",
    kinds={"parquet"},
    deps=[synthetic_answers, "benchmark_problems", "tokenizer", "opt_outs"],
)
def synthetic_set(
    context: dg.AssetExecutionContext,
    lake: Lake,
    tracking: Tracking,
    recipe: dg.ResourceParam[Recipe],
) -> dg.MaterializeResult[Any]:
    """New files in the spirit of good ones: parsed, decontaminated, deduplicated; each names its
    seed. What was refused is kept with its reason."""
    answers = upstream(lake, recipe, "synthetic_answers")
    known = upstream(lake, recipe, "benchmark_problems")
    tokenizer = upstream(lake, recipe, "tokenizer")
    listed = upstream(lake, recipe, "opt_outs")
    settings = {
        "acceptance": recipe.acceptance,
        "near_duplicates": recipe.curation.near_duplicates,
        "contamination": recipe.curation.contamination,
        "model_license": recipe.synthesis.model_license,
        "model_terms": recipe.synthesis.model_terms,
    }

    def work(folder: str) -> Made:
        rules = acceptance.Rules(
            recipe=recipe.acceptance,
            near_duplicates=recipe.curation.near_duplicates,
            contamination=recipe.curation.contamination,
            problems=shards.read(known.folder, "problems"),
            tokenizer=load_tokenizer(tokenizer.folder),
            opted_out=opt_outs.read(listed.folder),
        )
        asked = acceptance.Asked(
            folder=answers.folder,
            prompt_version=PROMPT_VERSION,
            model=recipe.synthesis.model,
            model_license=recipe.synthesis.model_license,
            model_terms=recipe.synthesis.model_terms,
        )
        return _shown(acceptance.accept(asked, folder, rules), folder)

    return materialize(
        context,
        lake,
        tracking,
        recipe,
        code_version="3",
        settings=settings,
        inputs=[answers, known, tokenizer, listed],
        work=work,
    )


def _shown(facts: dict[str, Any], folder: str) -> Made:
    return Made(
        facts=facts,
        metadata={
            "yield": dg.MetadataValue.md(shown.yield_table(folder)),
            "yield_picture": shown.yield_picture(folder),
            "examples": dg.MetadataValue.md(shown.examples(folder)),
        },
    )


@dg.asset_check(asset=synthetic_set, blocking=True)
def no_synthetic_file_leaks(lake: Lake, recipe: dg.ResourceParam[Recipe]) -> dg.AssetCheckResult:
    """No accepted file holds a benchmark problem, identifiers renamed or not."""
    problems = shards.read(upstream(lake, recipe, "benchmark_problems").folder, "problems")
    made = upstream(lake, recipe, "synthetic_set")
    window = recipe.curation.contamination.gate_window_tokens
    return check_result(shown.leaked(made.folder, problems, window_tokens=window))


@dg.asset_check(asset=synthetic_set, blocking=True)
def every_answer_is_accounted_for(
    lake: Lake, recipe: dg.ResourceParam[Recipe]
) -> dg.AssetCheckResult:
    """Accepted and refused files are exactly those that were asked for."""
    made = upstream(lake, recipe, "synthetic_set")
    answers = shards.input_folders(made.folder, "synthetic_answers")
    return check_result(
        [fault for folder in answers for fault in shown.unaccounted(folder, made.folder)]
    )
