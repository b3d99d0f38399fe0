"""Greedy completions of benchmark prompts, until a stop sequence, end of text or the limit."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from snow_assets.evaluation.checkpoint import Checkpoint
from snow_assets.evaluation.samples import Problem
from snow_assets.pretraining.llama import generate_greedy

_TAIL_TOKENS = 16  # more than the longest stop sequence has


def truncate_at_stop_sequence(text: str, stop_sequences: Sequence[str]) -> tuple[str, bool]:
    """Return the text before the first stop sequence, and whether there is one."""
    positions = [position for stop in stop_sequences if (position := text.find(stop)) >= 0]
    return (text[: min(positions)], True) if positions else (text, False)


def _generate(
    checkpoint: Checkpoint,
    prompts: Sequence[list[int]],
    stop_sequences: Sequence[str],
    max_new_tokens: int,
) -> list[list[int]]:
    def should_stop(token_ids: list[int]) -> bool:
        if token_ids[-1] == checkpoint.end_of_text:
            return True
        tail = checkpoint.tokenizer.decode(token_ids[-_TAIL_TOKENS:], skip_special_tokens=True)
        return truncate_at_stop_sequence(tail, stop_sequences)[1]

    return generate_greedy(
        checkpoint.model, prompts, max_new_tokens=max_new_tokens, should_stop=should_stop
    )


def _completion_row(
    checkpoint: Checkpoint, token_ids: list[int], stop_sequences: Sequence[str]
) -> dict[str, Any]:
    has_end_of_text = checkpoint.end_of_text in token_ids
    completion_ids = (
        token_ids[: token_ids.index(checkpoint.end_of_text)] if has_end_of_text else token_ids
    )
    text, has_stop_sequence = truncate_at_stop_sequence(
        checkpoint.tokenizer.decode(completion_ids, skip_special_tokens=True), stop_sequences
    )
    if has_stop_sequence:
        return {
            "completion": text,
            "stop_reason": "stop_sequence",
            "num_tokens": len(completion_ids),
        }
    if has_end_of_text:
        return {
            "completion": text,
            "stop_reason": "end_of_text",
            "num_tokens": len(completion_ids) + 1,
        }
    return {"completion": text, "stop_reason": "length", "num_tokens": len(completion_ids)}


def completions(
    checkpoint: Checkpoint,
    problems: Sequence[Problem],
    *,
    max_new_tokens: int,
    batch_problems: int,
) -> list[dict[str, Any]]:
    """Generate a COMPLETION row, without the checkpoint's name, for each problem.

    Prompt and completion share the context: a prompt that is too long is truncated on the left.
    """
    return [
        row
        for stop_sequences, group in groupby(problems, key=lambda problem: problem.stop_sequences)
        for batch in _batches(list(group), batch_problems)
        for row in _batch_rows(checkpoint, batch, stop_sequences, max_new_tokens)
    ]


def _batches(problems: Sequence[Problem], size: int) -> Iterator[Sequence[Problem]]:
    for begin in range(0, len(problems), size):
        yield problems[begin : begin + size]


def _batch_rows(
    checkpoint: Checkpoint,
    problems: Sequence[Problem],
    stop_sequences: Sequence[str],
    max_new_tokens: int,
) -> Iterator[dict[str, Any]]:
    max_prompt_tokens = checkpoint.max_seq_len - max_new_tokens - 1
    prompts = [checkpoint.encode(problem.prompt) for problem in problems]
    truncated = [[checkpoint.end_of_text, *prompt[-max_prompt_tokens:]] for prompt in prompts]
    completion_ids = _generate(checkpoint, truncated, stop_sequences, max_new_tokens)
    for problem, prompt, token_ids in zip(problems, prompts, completion_ids, strict=True):
        yield {
            "problem_id": problem.problem_id,
            "num_stripped_newlines": problem.num_stripped_newlines,
            "num_cut_prompt_tokens": max(0, len(prompt) - max_prompt_tokens),
            **_completion_row(checkpoint, token_ids, stop_sequences),
        }
