"""The model's job: a checkpoint in; what held-out texts cost it, and what it answers, out.

One job does both, since loading a model costs more than asking a small one.
"""

from collections.abc import Iterable
from typing import Any

import torch

from snow_assets import shards, worker
from snow_assets.documents import COMPLETION, LIKELIHOOD
from snow_assets.evaluation import checkpoint as checkpoints
from snow_assets.evaluation import generation, likelihood, samples
from snow_assets.evaluation.checkpoint import Checkpoint
from snow_assets.evaluation.contract import Evaluation, Measured
from snow_assets.evaluation.results import HELD_OUT


def measure(request: Evaluation, progress: worker.Progress) -> Measured:
    """Write `likelihoods`, a shard per language and one for solutions, and `completions`."""
    torch.set_num_threads(request.recipe.threads)
    checkpoint = checkpoints.load(
        request.checkpoint_folder, request.tokenizer, precision=request.precision
    )
    progress.log(f"{request.checkpoint}: on {checkpoint.device}")
    languages = sorted(request.corpora)
    for index, language in enumerate(languages):
        if not shards.record(request.output, shards.table_name("likelihoods", index)):
            rows = _documents(request, checkpoint, language)
            shards.put_table(request.output, "likelihoods", index, rows, LIKELIHOOD)
            progress.log(f"{request.checkpoint}: {len(rows)} held-out documents of {language}")
    if not shards.record(request.output, shards.table_name("likelihoods", len(languages))):
        rows = _solutions(request, checkpoint)
        shards.put_table(request.output, "likelihoods", len(languages), rows, LIKELIHOOD)
        progress.log(f"{request.checkpoint}: {len(rows)} canonical solutions")
    if not shards.record(request.output, shards.table_name("completions", 0)):
        rows = _completions(request, checkpoint)
        shards.put_table(request.output, "completions", 0, rows, COMPLETION)
        progress.log(f"{request.checkpoint}: {len(rows)} problems answered")
    finished = {entry.name: entry.num_rows or 0 for entry in shards.records(request.output)}
    return Measured(
        num_documents=sum(
            finished[shards.table_name("likelihoods", index)] for index in range(len(languages))
        ),
        num_solutions=finished[shards.table_name("likelihoods", len(languages))],
        num_completions=finished[shards.table_name("completions", 0)],
        device=checkpoint.device,
    )


def _documents(request: Evaluation, checkpoint: Checkpoint, language: str) -> list[dict[str, Any]]:
    found = samples.held_out(
        request.corpora[language],
        num=request.recipe.held_out_documents_per_language,
        max_bytes=request.recipe.max_document_bytes,
        seed=request.recipe.seed,
    )
    given = [
        {
            "benchmark": HELD_OUT,
            "subset": language,
            "sample_id": document.document_id,
            "repository": document.repository,
            "prompt": "",
            "scored": document.text,
        }
        for document in found
    ]
    return _likelihoods(request, checkpoint, given)


def _solutions(request: Evaluation, checkpoint: Checkpoint) -> list[dict[str, Any]]:
    given = [
        {
            "benchmark": problem.benchmark,
            "subset": problem.subset,
            "sample_id": problem.problem_id,
            "repository": None,
            "prompt": problem.prompt,
            "scored": problem.solution,
        }
        for problem in samples.problems(request.problems, num=None, seed=request.recipe.seed)
    ]
    return _likelihoods(request, checkpoint, given)


def _likelihoods(
    request: Evaluation, checkpoint: Checkpoint, given: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    rows = sorted(given, key=lambda row: str(row["sample_id"]))
    # Prompt and solution are encoded apart, so that the boundary is a token's: what is scored is
    # then exactly the solution's bytes.
    prompts = [[checkpoint.end_of_text, *checkpoint.tokens(row["prompt"])] for row in rows]
    scored = [checkpoint.tokens(row["scored"]) for row in rows]
    nats = likelihood.sequence_nats(
        checkpoint,
        [
            likelihood.Scored(tokens=prompt + tokens, num_given=len(prompt))
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
            "nats": cost,
        }
        for row, tokens, cost in zip(rows, scored, nats, strict=True)
    ]


def _completions(request: Evaluation, checkpoint: Checkpoint) -> list[dict[str, Any]]:
    rows = generation.completions(
        checkpoint,
        samples.problems(request.problems, num=request.recipe.problems, seed=request.recipe.seed),
        max_new_tokens=request.recipe.max_new_tokens,
        batch_problems=request.recipe.batch_problems,
    )
    return [{"checkpoint": request.checkpoint, **row} for row in rows]


if __name__ == "__main__":
    worker.main(Evaluation, measure)
