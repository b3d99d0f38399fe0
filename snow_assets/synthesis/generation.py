"""Generation job: completions of table `seeds`, written to table `answers` chunk by chunk.

It runs in vLLM's environment, or in the trainer's for an endpoint. A chunk is a shard of `seeds`;
finished chunks are skipped, so a kill loses at most the chunk in progress.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from snow_assets.runtime import worker
from snow_assets.runtime.remaining_time import Remaining
from snow_assets.storage import shards
from snow_assets.storage.schemas import SYNTHETIC_ANSWER
from snow_assets.synthesis.contract import SEEDS, GenerationReport, GenerationRequest
from snow_assets.synthesis.engine import Engine, Prompt, endpoint_engine, vllm_engine
from snow_assets.synthesis.prompts import PROMPT_VERSION, messages
from snow_assets.synthesis.teacher import local_model

ANSWERS = "answers"


def work(request: GenerationRequest, progress: worker.Progress) -> GenerationReport:
    """Generate the remaining chunks; the engine starts only if there are any.

    ValueError if the request's prompt version is not this code's.
    """
    if request.prompt_version != PROMPT_VERSION:
        raise ValueError(
            f"the request is for prompt version {request.prompt_version}, and this code has "
            f"{PROMPT_VERSION}: run the job with the code that made the request"
        )
    remaining = [index for index in remaining_chunks(request.output) if progress.owns(index)]
    if not remaining:
        return GenerationReport(
            num_chunks=0, num_answers=0, num_answer_tokens=0, start_seconds=0.0, seconds=0.0
        )
    with TemporaryDirectory(prefix="teacher-") as scratch:
        started = time.monotonic()
        engine = _create_engine(request, Path(scratch))
        start_seconds = time.monotonic() - started
        progress.log(f"{engine.name} is ready after {start_seconds:.0f} s; {len(remaining)} chunks")
        return generate_chunks(
            request, engine, remaining, start_seconds=start_seconds, progress=progress
        )


def remaining_chunks(output: str) -> list[int]:
    """Indices of the shards of `seeds` without a shard of `answers`."""
    return [
        index
        for index in range(len(shards.records(output, SEEDS)))
        if not shards.record(output, shards.table_name(ANSWERS, index))
    ]


def _create_engine(request: GenerationRequest, scratch: Path) -> Engine:
    if request.recipe.engine == "endpoint":
        return endpoint_engine(request.endpoint, request.teacher, request.recipe)
    return vllm_engine(str(local_model(request.teacher, scratch)), request.recipe)


def generate_chunks(
    request: GenerationRequest,
    engine: Engine,
    chunks: Sequence[int],
    *,
    start_seconds: float,
    progress: worker.Progress,
) -> GenerationReport:
    """Generate and write chunks in order; a chunk is written before the next one starts."""
    started = time.monotonic()
    num_answers = num_tokens = 0
    remaining = Remaining(len(chunks), "chunks")
    for index in chunks:
        chunk_started = time.monotonic()
        rows = _generate_chunk(request, engine, index)
        shards.put_table(request.output, ANSWERS, index, rows, SYNTHETIC_ANSWER)
        tokens = sum(row["num_answer_tokens"] for row in rows)
        num_answers, num_tokens = num_answers + len(rows), num_tokens + tokens
        seconds = time.monotonic() - chunk_started
        progress.metrics(index, num_answers=len(rows), tokens_per_second=tokens / seconds)
        progress.log(
            f"chunk {index}: {len(rows)} answers, {tokens / seconds:.0f} tokens/s; "
            f"{remaining.advance()}"
        )
    return GenerationReport(
        num_chunks=len(chunks),
        num_answers=num_answers,
        num_answer_tokens=num_tokens,
        start_seconds=start_seconds,
        seconds=time.monotonic() - started,
    )


def _generate_chunk(request: GenerationRequest, engine: Engine, index: int) -> list[dict[str, Any]]:
    seed_rows = shards.read_shard(request.output, shards.table_name(SEEDS, index)).to_pylist()
    limit = request.recipe.max_new_tokens
    prompts = [
        Prompt(
            messages=messages(row["language"], row["snippet"], max_new_tokens=limit),
            seed=int(row["document_id"][:8], 16) // 2,  # servers take 31 bits
        )
        for row in seed_rows
    ]
    return [
        {
            "document_id": row["document_id"],
            "answer": completion.text,
            "stop_reason": completion.finish_reason,
            "evidence": completion.evidence,
            "num_prompt_tokens": completion.num_prompt_tokens,
            "num_answer_tokens": completion.num_completion_tokens,
            "engine": engine.name,
        }
        for row, completion in zip(seed_rows, engine.complete(prompts), strict=True)
    ]


if __name__ == "__main__":
    worker.main(GenerationRequest, work)
