"""Greedy completions of benchmark prompts, until a stop sequence, end of text or the limit."""

from collections.abc import Sequence
from typing import Any

from snow_assets.evaluation.checkpoint import Checkpoint
from snow_assets.evaluation.samples import Problem
from snow_assets.pretraining.llama import generate_greedy

STOP_SEQUENCES = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Stop sequences of Codex, which end a function (arXiv 2107.03374, section 2.1)."""

_TAIL_TOKENS = 16  # more than the longest stop sequence has


def truncate_at_stop_sequence(text: str) -> tuple[str, bool]:
    """Return the text before the first stop sequence, and whether there is one."""
    positions = [position for stop in STOP_SEQUENCES if (position := text.find(stop)) >= 0]
    return (text[: min(positions)], True) if positions else (text, False)


def _generate(
    checkpoint: Checkpoint, prompts: Sequence[list[int]], max_new_tokens: int
) -> list[list[int]]:
    def should_stop(token_ids: list[int]) -> bool:
        if token_ids[-1] == checkpoint.end_of_text:
            return True
        tail = checkpoint.tokenizer.decode(token_ids[-_TAIL_TOKENS:], skip_special_tokens=True)
        return truncate_at_stop_sequence(tail)[1]

    return generate_greedy(
        checkpoint.model, prompts, max_new_tokens=max_new_tokens, should_stop=should_stop
    )


def _completion_row(checkpoint: Checkpoint, token_ids: list[int]) -> dict[str, Any]:
    has_end_of_text = checkpoint.end_of_text in token_ids
    completion_ids = (
        token_ids[: token_ids.index(checkpoint.end_of_text)] if has_end_of_text else token_ids
    )
    text, has_stop_sequence = truncate_at_stop_sequence(
        checkpoint.tokenizer.decode(completion_ids, skip_special_tokens=True)
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
    max_prompt_tokens = checkpoint.context_tokens - max_new_tokens - 1
    prompts = [checkpoint.encode(problem.prompt) for problem in problems]
    truncated_prompts = [
        [checkpoint.end_of_text, *prompt[-max_prompt_tokens:]] for prompt in prompts
    ]
    rows = []
    for begin in range(0, len(problems), batch_problems):
        end = begin + batch_problems
        completion_ids = _generate(checkpoint, truncated_prompts[begin:end], max_new_tokens)
        for problem, prompt, token_ids in zip(
            problems[begin:end], prompts[begin:end], completion_ids, strict=True
        ):
            rows.append(
                {
                    "problem_id": problem.problem_id,
                    "num_stripped_newlines": problem.num_stripped_newlines,
                    "num_cut_prompt_tokens": max(0, len(prompt) - max_prompt_tokens),
                    **_completion_row(checkpoint, token_ids),
                }
            )
    return rows
