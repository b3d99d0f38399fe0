"""A checkpoint's greedy answers to problems: each prompt continued until its function ends."""

from collections.abc import Sequence
from typing import Any

from snow_assets.evaluation.checkpoint import Checkpoint
from snow_assets.evaluation.samples import Problem
from snow_assets.pretraining.llama import generate_greedy

STOP_SEQUENCES = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Where a completed function ends: the five of Codex (arXiv 2107.03374, section 2.1)."""

_TAIL_TOKENS = 16  # more than the longest stop sequence has


def cut_at_stop(text: str) -> tuple[str, bool]:
    """The text before the first stop sequence, and whether there was one."""
    found = [position for stop in STOP_SEQUENCES if (position := text.find(stop)) >= 0]
    return (text[: min(found)], True) if found else (text, False)


def _continued(
    checkpoint: Checkpoint, prompts: Sequence[list[int]], max_new_tokens: int
) -> list[list[int]]:
    def is_done(written: list[int]) -> bool:
        if written[-1] == checkpoint.end_of_text:
            return True
        tail = checkpoint.tokenizer.decode(written[-_TAIL_TOKENS:], skip_special_tokens=True)
        return cut_at_stop(tail)[1]

    return generate_greedy(
        checkpoint.model, prompts, max_new_tokens=max_new_tokens, should_stop=is_done
    )


def _completion(checkpoint: Checkpoint, written: list[int]) -> dict[str, Any]:
    ended = checkpoint.end_of_text in written
    own = written[: written.index(checkpoint.end_of_text)] if ended else written
    text, stopped = cut_at_stop(checkpoint.tokenizer.decode(own, skip_special_tokens=True))
    if stopped:
        return {"completion": text, "stop_reason": "stop_sequence", "num_tokens": len(own)}
    if ended:
        return {"completion": text, "stop_reason": "end_of_text", "num_tokens": len(own) + 1}
    return {"completion": text, "stop_reason": "length", "num_tokens": len(own)}


def completions(
    checkpoint: Checkpoint,
    problems: Sequence[Problem],
    *,
    max_new_tokens: int,
    batch_problems: int,
) -> list[dict[str, Any]]:
    """A row of COMPLETION for each problem, without the checkpoint's name.

    Prompt and answer share the context: a prompt that is too long loses its beginning.
    """
    room = checkpoint.context_tokens - max_new_tokens - 1
    prompts = [checkpoint.tokens(problem.prompt) for problem in problems]
    kept = [[checkpoint.end_of_text, *prompt[-room:]] for prompt in prompts]
    rows = []
    for begin in range(0, len(problems), batch_problems):
        end = begin + batch_problems
        written = _continued(checkpoint, kept[begin:end], max_new_tokens)
        for problem, prompt, tokens in zip(
            problems[begin:end], prompts[begin:end], written, strict=True
        ):
            rows.append(
                {
                    "problem_id": problem.problem_id,
                    "num_stripped_newlines": problem.num_stripped_newlines,
                    "num_cut_prompt_tokens": max(0, len(prompt) - room),
                    **_completion(checkpoint, tokens),
                }
            )
    return rows
