"""The generation job: table `seeds` in, table `answers` out, a chunk at a time.

It runs in vLLM's environment, or for an endpoint in the trainer's. A chunk is a shard of `seeds`;
one that has its answers is never asked again, so a kill costs at most the chunk in progress.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from snow_assets import shards, worker
from snow_assets.documents import SYNTHETIC_ANSWER
from snow_assets.remaining import Remaining
from snow_assets.synthesis import seeds
from snow_assets.synthesis.contract import Generated, Generation
from snow_assets.synthesis.engine import Engine, Prompt, endpoint_engine, vllm_engine
from snow_assets.synthesis.prompts import PROMPT_VERSION, messages
from snow_assets.synthesis.teacher import local_model

ANSWERS = "answers"


def work(request: Generation, progress: worker.Progress) -> Generated:
    """Answer what is not answered yet; the engine starts only if there is something to ask."""
    if request.prompt_version != PROMPT_VERSION:
        raise ValueError(
            f"the request is for prompt version {request.prompt_version}, and this code asks with "
            f"{PROMPT_VERSION}: run the job with the code that made the request"
        )
    left = [index for index in chunks_left(request.output) if progress.owns(index)]
    if not left:
        return Generated(
            num_chunks=0, num_answers=0, num_answer_tokens=0, start_seconds=0.0, seconds=0.0
        )
    with TemporaryDirectory(prefix="teacher-") as scratch:
        started = time.monotonic()
        engine = _engine(request, Path(scratch))
        start_seconds = time.monotonic() - started
        progress.log(f"{engine.name} is ready after {start_seconds:.0f} s; {len(left)} chunks")
        return answer(request, engine, left, start_seconds=start_seconds, progress=progress)


def chunks_left(output: str) -> list[int]:
    """The shards of `seeds` without answers, in order."""
    asked = [
        record for record in shards.records(output) if record.name.startswith(f"{seeds.TABLE}-")
    ]
    return [
        index
        for index in range(len(asked))
        if not shards.record(output, shards.table_name(ANSWERS, index))
    ]


def _engine(request: Generation, scratch: Path) -> Engine:
    if request.recipe.engine == "endpoint":
        return endpoint_engine(request.endpoint, request.teacher, request.recipe)
    return vllm_engine(str(local_model(request.teacher, scratch)), request.recipe)


def answer(
    request: Generation,
    engine: Engine,
    chunks: Sequence[int],
    *,
    start_seconds: float,
    progress: worker.Progress,
) -> Generated:
    """Ask chunk by chunk; each one's answers are complete before the next is asked."""
    started = time.monotonic()
    num_answers = num_tokens = 0
    remaining = Remaining(len(chunks), "chunks")
    for index in chunks:
        began = time.monotonic()
        rows = _answered(request, engine, index)
        shards.put_table(request.output, ANSWERS, index, rows, SYNTHETIC_ANSWER)
        tokens = sum(row["num_answer_tokens"] for row in rows)
        num_answers, num_tokens = num_answers + len(rows), num_tokens + tokens
        seconds = time.monotonic() - began
        progress.metrics(index, num_answers=len(rows), tokens_per_second=tokens / seconds)
        progress.log(
            f"chunk {index}: {len(rows)} answers, {tokens / seconds:.0f} tokens/s; "
            f"{remaining.advance()}"
        )
    return Generated(
        num_chunks=len(chunks),
        num_answers=num_answers,
        num_answer_tokens=num_tokens,
        start_seconds=start_seconds,
        seconds=time.monotonic() - started,
    )


def _answered(request: Generation, engine: Engine, index: int) -> list[dict[str, Any]]:
    asked = shards.read_shard(request.output, shards.table_name(seeds.TABLE, index)).to_pylist()
    limit = request.recipe.max_new_tokens
    prompts = [
        Prompt(
            messages=messages(row["language"], row["snippet"], max_new_tokens=limit),
            seed=int(row["document_id"][:8], 16) // 2,  # servers take 31 bits
        )
        for row in asked
    ]
    return [
        {
            "document_id": row["document_id"],
            "answer": made.text,
            "stop_reason": made.stop_reason,
            "evidence": made.evidence,
            "num_prompt_tokens": made.num_prompt_tokens,
            "num_answer_tokens": made.num_answer_tokens,
            "engine": engine.name,
        }
        for row, made in zip(asked, engine.complete(prompts), strict=True)
    ]


if __name__ == "__main__":
    worker.main(Generation, work)
