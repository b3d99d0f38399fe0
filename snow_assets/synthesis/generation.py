"""Generation job: completions of table `seeds`, written to table `completions` part by part.

It runs in vLLM's environment, or in the trainer's for an endpoint. A part is a shard of `seeds`;
complete parts are skipped, so a kill loses at most `chunk_requests` requests, those of the parts
in progress.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from snow_assets.runtime import worker
from snow_assets.runtime.generation_report import GenerationReport
from snow_assets.runtime.inference import preload_vllm
from snow_assets.runtime.remaining_time import Remaining
from snow_assets.storage import shards
from snow_assets.storage.schemas.synthesis import SYNTHETIC_COMPLETION
from snow_assets.synthesis.contract import (
    SEEDS,
    GenerationRequest,
    seed_mode,
)
from snow_assets.synthesis.engine import (
    Completion,
    Engine,
    Prompt,
    endpoint_engine,
    vllm_engine,
)
from snow_assets.synthesis.prompts import messages, prompt_version
from snow_assets.synthesis.spending import Spending
from snow_assets.synthesis.teacher import local_model

COMPLETIONS = "completions"


def work(request: GenerationRequest, progress: worker.Progress) -> GenerationReport:
    """Generate the remaining parts; the engine starts only if there are any.

    ValueError if the request's prompt version is not this code's.
    """
    own_version = prompt_version(request.recipe.modes)
    if request.prompt_version != own_version:
        raise ValueError(
            f"the request is for prompt version {request.prompt_version}, and this code has "
            f"{own_version}: run the job with the code that made the request"
        )
    remaining = [index for index in remaining_parts(request.output) if progress.owns(index)]
    if not remaining:
        return GenerationReport()
    with TemporaryDirectory(prefix="teacher-") as scratch:
        started = time.monotonic()
        engine = _create_engine(request, Path(scratch), first_part=remaining[0])
        start_seconds = time.monotonic() - started
        progress.log(f"{engine.name} is ready after {start_seconds:.0f} s; {len(remaining)} parts")
        try:
            return generate_parts(
                request, engine, remaining, start_seconds=start_seconds, progress=progress
            )
        finally:
            engine.close()


def remaining_parts(output: str) -> list[int]:
    """Indices of the shards of `seeds` without a shard of `completions`."""
    return [
        index
        for index in range(len(shards.records(output, SEEDS)))
        if not shards.record(output, shards.table_name(COMPLETIONS, index))
    ]


def _create_engine(request: GenerationRequest, scratch: Path, *, first_part: int) -> Engine:
    if request.recipe.engine == "endpoint":
        spending = Spending(request.endpoint, request.output)
        return endpoint_engine(request.endpoint_url, request.teacher, request.recipe, spending)
    model = str(local_model(request.teacher, scratch))
    # Parts that a later attempt generates are not sampled with an earlier attempt's numbers.
    return vllm_engine(model, request.recipe, seed=request.recipe.seed + first_part)


def generate_parts(
    request: GenerationRequest,
    engine: Engine,
    parts: Sequence[int],
    *,
    start_seconds: float,
    progress: worker.Progress,
) -> GenerationReport:
    """Generate parts, and write each as soon as it is complete."""
    started = time.monotonic()
    num_completions = num_tokens = 0
    remaining = Remaining(len(parts), "parts")
    for index, completions in engine.complete((index, _prompts(request, index)) for index in parts):
        rows = _completion_rows(request, engine, index, completions)
        shards.put_table(request.output, COMPLETIONS, index, rows, SYNTHETIC_COMPLETION)
        num_completions += len(rows)
        num_tokens += sum(row["num_completion_tokens"] for row in rows)
        rate = num_tokens / (time.monotonic() - started)
        progress.metrics(index, num_completions=len(rows), tokens_per_second=rate)
        progress.log(
            f"part {index}: {len(rows)} completions; {rate:.0f} tokens/s; {remaining.advance()}"
        )
    prefix_cache = engine.prefix_cache_use()
    return GenerationReport(
        num_parts=len(parts),
        num_completions=num_completions,
        num_completion_tokens=num_tokens,
        num_queried_prefix_tokens=prefix_cache.num_queried_tokens,
        num_cached_prefix_tokens=prefix_cache.num_hit_tokens,
        start_seconds=start_seconds,
        seconds=time.monotonic() - started,
    )


def _seed_rows(request: GenerationRequest, index: int) -> list[dict[str, Any]]:
    return list(shards.read_shard(request.output, shards.table_name(SEEDS, index)).to_pylist())


def _prompts(request: GenerationRequest, index: int) -> list[Prompt]:
    limit = request.recipe.max_new_tokens
    return [
        Prompt(
            messages=messages(
                row["language"], row["snippet"], max_new_tokens=limit, mode=seed_mode(row)
            ),
            seed=int(row["document_id"][:8], 16) // 2,  # servers take 31 bits
        )
        for row in _seed_rows(request, index)
    ]


def _completion_rows(
    request: GenerationRequest, engine: Engine, index: int, completions: Sequence[Completion]
) -> list[dict[str, Any]]:
    return [
        {
            "document_id": row["document_id"],
            "completion": completion.text,
            "finish_reason": completion.finish_reason,
            "evidence": completion.evidence,
            "num_prompt_tokens": completion.num_prompt_tokens,
            "num_completion_tokens": completion.num_completion_tokens,
            "engine": engine.name,
        }
        for row, completion in zip(_seed_rows(request, index), completions, strict=True)
    ]


def preload() -> None:
    preload_vllm()


if __name__ == "__main__":
    worker.main(GenerationRequest, work)
