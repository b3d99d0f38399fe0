"""Measurement job: a checkpoint's likelihoods of held-out texts and of canonical solutions."""

from collections.abc import Iterable
from typing import Any

import torch

from snow_assets.evaluation import checkpoint as checkpoints
from snow_assets.evaluation import likelihood, problems, samples
from snow_assets.evaluation.checkpoint import Checkpoint
from snow_assets.evaluation.contract import EvaluationRequest, MeasurementReport
from snow_assets.evaluation.results import HELD_OUT
from snow_assets.runtime import worker
from snow_assets.storage import shards
from snow_assets.storage.schemas.evaluation import LIKELIHOOD


def measure(request: EvaluationRequest, progress: worker.Progress) -> MeasurementReport:
    """Write `likelihoods`, a shard per language and one for solutions."""
    torch.set_num_threads(request.recipe.threads)
    checkpoint = checkpoints.load(
        request.checkpoint_folder, request.tokenizer, precision=request.precision
    )
    progress.log(f"{request.checkpoint}: on {checkpoint.device}")
    languages = sorted(request.corpora)
    for index, language in enumerate(languages):
        if not shards.record(request.output, shards.table_name("likelihoods", index)):
            rows = _document_likelihoods(request, checkpoint, language)
            shards.put_table(request.output, "likelihoods", index, rows, LIKELIHOOD)
            progress.log(f"{request.checkpoint}: {len(rows)} held-out documents of {language}")
    if not shards.record(request.output, shards.table_name("likelihoods", len(languages))):
        rows = _solution_likelihoods(request, checkpoint)
        shards.put_table(request.output, "likelihoods", len(languages), rows, LIKELIHOOD)
        progress.log(f"{request.checkpoint}: {len(rows)} canonical solutions")
    finished = {entry.name: entry.num_rows or 0 for entry in shards.records(request.output)}
    solutions = shards.table_name("likelihoods", len(languages))
    num_bytes = shards.read_shard(request.output, solutions)["num_bytes"].to_pylist()
    return MeasurementReport(
        num_documents=sum(
            finished[shards.table_name("likelihoods", index)] for index in range(len(languages))
        ),
        num_solutions=sum(count > 0 for count in num_bytes),
        device=checkpoint.device,
    )


def _document_likelihoods(
    request: EvaluationRequest, checkpoint: Checkpoint, language: str
) -> list[dict[str, Any]]:
    documents = samples.held_out_documents(
        request.corpora[language],
        num=request.recipe.held_out_documents_per_language,
        max_bytes=request.recipe.max_document_bytes,
        seed=request.recipe.seed,
    )
    texts = [
        {
            "benchmark": HELD_OUT,
            "subset": language,
            "sample_id": document.document_id,
            "repository": document.repository,
            "prompt": "",
            "scored": document.text,
        }
        for document in documents
    ]
    return _likelihoods(request, checkpoint, texts)


def _solution_likelihoods(
    request: EvaluationRequest, checkpoint: Checkpoint
) -> list[dict[str, Any]]:
    """A row per problem; one without a canonical solution has no bytes and no nats."""
    all_problems = problems.sample_problems(
        request.problems, request.recipe.benchmarks, num=None, seed=request.recipe.seed
    )
    texts = [
        {
            "benchmark": problem.benchmark,
            "subset": problem.subset,
            "sample_id": problem.problem_id,
            "repository": None,
            "prompt": problem.prompt,
            "scored": problem.solution,
        }
        for problem in all_problems
    ]
    return _likelihoods(request, checkpoint, texts)


def _likelihoods(
    request: EvaluationRequest, checkpoint: Checkpoint, texts: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    rows = sorted(texts, key=lambda row: str(row["sample_id"]))
    # Prompt and solution are tokenized separately, so that exactly the solution's bytes are scored.
    prompts = [[checkpoint.end_of_text, *checkpoint.encode(row["prompt"])] for row in rows]
    scored = [checkpoint.encode(row["scored"]) for row in rows]
    nats = likelihood.sequence_nats(
        checkpoint,
        [
            likelihood.ScoredSequence(tokens=prompt + tokens, num_context=len(prompt))
            for prompt, tokens in zip(prompts, scored, strict=True)
        ],
        stride_tokens=request.recipe.stride_tokens,
        batch_windows=request.recipe.batch_windows,
    )
    return [
        {
            "checkpoint": request.checkpoint,
            "benchmark": row["benchmark"],
            "subset": row["subset"],
            "sample_id": row["sample_id"],
            "repository": row["repository"],
            "num_bytes": len(row["scored"].encode()),
            "num_tokens": len(tokens),
            "nats": nats_of_text,
        }
        for row, tokens, nats_of_text in zip(rows, scored, nats, strict=True)
    ]


if __name__ == "__main__":
    worker.main(EvaluationRequest, measure)
