"""Generation job: completions of benchmark prompts by vLLM, written to `completions` part by part.

It runs in vLLM's environment. Greedy completions are made of every chosen problem, sampled ones
where the recipe says so. A completion ends before a stop sequence, at the end of text, or at the
limit of new tokens. Complete parts are skipped by the next attempt.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from snow_assets.curation.tokenizer.tokens import END_OF_TEXT, load_tokenizer
from snow_assets.evaluation.contract import EvaluationRequest
from snow_assets.evaluation.decoding import Decoding, Part, completion_parts, decodings
from snow_assets.evaluation.problems import Problem, sample_problems
from snow_assets.runtime import worker
from snow_assets.runtime.generation_report import GenerationReport
from snow_assets.runtime.inference import (
    EngineConfig,
    TokenCompletion,
    TokenPrompt,
    completed_parts,
    preload_vllm,
    vllm_queue,
)
from snow_assets.storage import shards
from snow_assets.storage.schemas.evaluation import COMPLETION

COMPLETIONS = "completions"


def truncate_at_stop_sequence(text: str, stop_sequences: Sequence[str]) -> tuple[str, bool]:
    """Return the text before the first stop sequence, and whether there is one."""
    positions = [position for stop in stop_sequences if (position := text.find(stop)) >= 0]
    return (text[: min(positions)], True) if positions else (text, False)


@dataclass(frozen=True, kw_only=True)
class Context:
    """The checkpoint's tokens: every input begins with an end-of-text token, as documents in packs
    do, and shares `max_seq_len` with its completion."""

    tokenizer: Tokenizer
    max_seq_len: int
    max_new_tokens: int

    @property
    def end_of_text(self) -> int:
        end_of_text = self.tokenizer.token_to_id(END_OF_TEXT)
        if end_of_text is None:
            raise ValueError(f"the tokenizer has no token {END_OF_TEXT}")
        return int(end_of_text)

    @property
    def max_prompt_tokens(self) -> int:
        return self.max_seq_len - self.max_new_tokens - 1

    def prompt_token_ids(self, problem: Problem) -> list[int]:
        """Token ids of a prompt, without special tokens."""
        return list(self.tokenizer.encode(problem.prompt, add_special_tokens=False).ids)

    def token_prompt(self, problem: Problem, decoding: Decoding, *, seed: int) -> TokenPrompt:
        """The request of a problem; a prompt that is too long is truncated on the left."""
        truncated = self.prompt_token_ids(problem)[-self.max_prompt_tokens :]
        digest = hashlib.sha256(f"{seed}:{problem.problem_id}".encode()).hexdigest()
        return TokenPrompt(
            token_ids=[self.end_of_text, *truncated],
            max_new_tokens=self.max_new_tokens,
            temperature=decoding.temperature,
            top_p=decoding.top_p,
            num_samples=decoding.num_samples,
            stop_sequences=problem.stop_sequences,
            stop_token_ids=[self.end_of_text],
            seed=int(digest[:7], 16) if decoding.has_seeds else None,
        )

    def completion_fields(
        self, completion: TokenCompletion, stop_sequences: Sequence[str]
    ) -> dict[str, Any]:
        """A completion's text, stop reason and number of tokens."""
        token_ids = list(completion.token_ids)
        has_end_of_text = self.end_of_text in token_ids
        if has_end_of_text:
            token_ids = token_ids[: token_ids.index(self.end_of_text)]
        # vLLM's text leaves out bytes at its end that are no whole character.
        text, has_stop_sequence = truncate_at_stop_sequence(
            self.tokenizer.decode(token_ids, skip_special_tokens=True), stop_sequences
        )
        num_tokens, stop_reason = len(token_ids), "length"
        if has_stop_sequence:
            stop_reason = "stop_sequence"
        elif has_end_of_text:
            num_tokens, stop_reason = num_tokens + 1, "end_of_text"
        return {"completion": text, "stop_reason": stop_reason, "num_tokens": num_tokens}


def generate(request: EvaluationRequest, progress: worker.Progress) -> GenerationReport:
    """Write the remaining parts of `completions`; the engine starts only if there are any."""
    recipe = request.recipe
    problems = sample_problems(
        request.problems, recipe.benchmarks, num=recipe.max_problems, seed=recipe.seed
    )
    parts = {
        index: part
        for index, part in enumerate(completion_parts(recipe, num_problems=len(problems)))
        if progress.owns(index)
        and not shards.record(request.output, shards.table_name(COMPLETIONS, index))
    }
    if not parts:
        return GenerationReport()
    with tempfile.TemporaryDirectory(prefix="checkpoint-") as scratch:
        model = shards.fetch_folder(request.checkpoint_folder, Path(scratch), prefix="model")
        return _generate_parts(request, progress, parts, problems, model)


def _generate_parts(
    request: EvaluationRequest,
    progress: worker.Progress,
    parts: Mapping[int, Part],
    problems: Sequence[Problem],
    model: Path,
) -> GenerationReport:
    recipe = request.recipe
    context = Context(
        tokenizer=load_tokenizer(request.tokenizer),
        max_seq_len=json.loads((model / "config.json").read_text())["max_position_embeddings"],
        max_new_tokens=recipe.max_new_tokens,
    )
    started = time.monotonic()
    queue = vllm_queue(
        EngineConfig(
            model=str(model),
            max_model_len=context.max_seq_len,
            precision=request.precision,
            tensor_parallel_size=max(1, recipe.gpus),
            seed=recipe.seed + min(parts),
            has_request_seeds=any(part.decoding.has_seeds for part in parts.values()),
            cpu_threads=recipe.threads,
        )
    )
    start_seconds = time.monotonic() - started
    progress.log(f"{request.checkpoint}: {queue.name} is ready after {start_seconds:.0f} s")
    started, num_completions, num_tokens = time.monotonic(), 0, 0
    for decoding in decodings(recipe):
        problems_by_part = {
            index: problems[part.begin : part.end]
            for index, part in parts.items()
            if part.decoding == decoding
        }
        prompts = (
            (
                index,
                [context.token_prompt(problem, decoding, seed=recipe.seed) for problem in chosen],
            )
            for index, chosen in problems_by_part.items()
        )
        max_open_parts = 1 if decoding.is_isolated else 2
        for index, completions in completed_parts(queue, prompts, max_open_parts=max_open_parts):
            rows = [
                {
                    "checkpoint": request.checkpoint,
                    "decoding": decoding.name,
                    "engine": queue.name,
                    **row,
                }
                for problem, samples in zip(problems_by_part[index], completions, strict=True)
                for row in _rows(context, problem, samples)
            ]
            shards.put_table(request.output, COMPLETIONS, index, rows, COMPLETION)
            num_completions += len(rows)
            num_tokens += sum(row["num_tokens"] for row in rows)
            progress.log(f"{request.checkpoint}: {num_completions} {decoding.name} completions")
    prefix_cache = queue.prefix_cache_use()
    return GenerationReport(
        num_parts=len(parts),
        num_completions=num_completions,
        num_completion_tokens=num_tokens,
        num_queried_prefix_tokens=prefix_cache.num_queried_tokens,
        num_cached_prefix_tokens=prefix_cache.num_hit_tokens,
        start_seconds=start_seconds,
        seconds=time.monotonic() - started,
    )


def _rows(
    context: Context, problem: Problem, samples: Sequence[TokenCompletion]
) -> Iterator[dict[str, Any]]:
    num_prompt_tokens = len(context.prompt_token_ids(problem))
    for sample_index, sample in enumerate(samples):
        yield {
            "problem_id": problem.problem_id,
            "sample_index": sample_index,
            "num_stripped_newlines": problem.num_stripped_newlines,
            "num_cut_prompt_tokens": max(0, num_prompt_tokens - context.max_prompt_tokens),
            **context.completion_fields(sample, problem.stop_sequences),
        }


def preload() -> None:
    preload_vllm()


if __name__ == "__main__":
    worker.main(EvaluationRequest, generate)
