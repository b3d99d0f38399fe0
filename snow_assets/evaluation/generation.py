"""A checkpoint's greedy answers to problems: each prompt continued until its function ends."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from snow_assets.evaluation.checkpoint import Checkpoint
from snow_assets.evaluation.samples import Problem

STOP_SEQUENCES = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Where a completed function ends: the five of Codex (arXiv 2107.03374, section 2.1)."""

_TAIL_TOKENS = 16  # more than the longest stop sequence has


def cut_at_stop(text: str) -> tuple[str, bool]:
    """The text before the first stop sequence, and whether there was one."""
    found = [position for stop in STOP_SEQUENCES if (position := text.find(stop)) >= 0]
    return (text[: min(found)], True) if found else (text, False)


class _AtStopSequence(StoppingCriteria):  # type: ignore[misc]
    """Ends a row of the batch as soon as what it wrote holds a stop sequence."""

    def __init__(self, checkpoint: Checkpoint, num_prompt_tokens: int) -> None:
        self._checkpoint, self._num_prompt_tokens = checkpoint, num_prompt_tokens

    def __call__(self, input_ids: Any, _scores: Any, **_: Any) -> torch.Tensor:
        written = input_ids[:, self._num_prompt_tokens :][:, -_TAIL_TOKENS:].tolist()
        tails = self._checkpoint.tokenizer.decode_batch(written, skip_special_tokens=True)
        return torch.tensor(
            [cut_at_stop(tail)[1] for tail in tails], dtype=torch.bool, device=input_ids.device
        )


@torch.inference_mode()
def _continued(
    checkpoint: Checkpoint, prompts: Sequence[list[int]], max_new_tokens: int
) -> list[list[int]]:
    longest = max(len(prompt) for prompt in prompts)
    pad = checkpoint.end_of_text
    inputs = [[pad] * (longest - len(prompt)) + prompt for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    made = checkpoint.model.generate(
        input_ids=torch.tensor(inputs, device=checkpoint.device),
        attention_mask=torch.tensor(mask, device=checkpoint.device),
        generation_config=GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=checkpoint.end_of_text,
            pad_token_id=pad,
        ),
        stopping_criteria=StoppingCriteriaList([_AtStopSequence(checkpoint, longest)]),
    )
    return [list(row) for row in made[:, longest:].tolist()]


def _completion(checkpoint: Checkpoint, written: list[int]) -> dict[str, Any]:
    # A row that stopped before its batch is filled with end-of-text tokens.
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
