"""Greedy answers, and where they end."""

from typing import Any

import pytest
import torch

from snow_assets.corpus.benchmarks.human_eval import HUMAN_EVAL
from snow_assets.evaluation.checkpoint import Checkpoint
from snow_assets.evaluation.generation import completions, truncate_at_stop_sequence
from tests.evaluation.builders import CONTEXT_TOKENS, a_loaded_checkpoint, a_problem

STOP = HUMAN_EVAL.stop_sequences


def plain_greedy(checkpoint: Checkpoint, prompt: str, num: int) -> str:
    """One token after the other, alone and without a cache, until the end of text."""
    tokens = [checkpoint.end_of_text, *checkpoint.encode(prompt)]
    begin = len(tokens)
    for _ in range(num):
        best = int(checkpoint.model(torch.tensor([tokens]))[0, -1].argmax())
        if best == checkpoint.end_of_text:
            break
        tokens.append(best)
    return str(checkpoint.tokenizer.decode(tokens[begin:]))


def answers(checkpoint: Checkpoint, prompts: list[str], **numbers: int) -> list[dict[str, Any]]:
    problems = [a_problem(problem_id=f"Own/{n}", prompt=text) for n, text in enumerate(prompts)]
    return completions(
        checkpoint, problems, **{"max_new_tokens": 12, "batch_problems": 4} | numbers
    )


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("\n    return 1\n\ndef other():", "\n    return 1\n"),
        ("\n    return 1\nprint(add(1))\nclass A:", "\n    return 1"),
        ("\n    define = 1", "\n    define = 1"),
    ],
)
def test_an_answer_ends_before_its_first_stop_sequence(text: str, kept: str) -> None:
    assert truncate_at_stop_sequence(text, STOP) == (kept, text != kept)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_batch_answers_what_each_prompt_alone_would_get(seed: int) -> None:
    checkpoint = a_loaded_checkpoint(seed=seed)
    prompts = ["def add(first, second):", "x = 1", "import first as second, third"]
    expected = [
        truncate_at_stop_sequence(plain_greedy(checkpoint, prompt, 12), STOP)[0]
        for prompt in prompts
    ]
    assert [row["completion"] for row in answers(checkpoint, prompts)] == expected


def test_a_row_stops_at_a_stop_sequence_and_the_others_go_on() -> None:
    checkpoint = a_loaded_checkpoint()
    stop = checkpoint.encode("\n# and on")

    class Scripted(torch.nn.Module):
        """Continues `a` with a comment and everything else with `+`."""

        def __init__(self) -> None:
            super().__init__()
            self.model, self.step = checkpoint.model.model, 0

        def forward(self, tokens: torch.Tensor, **_: Any) -> torch.Tensor:
            plus, a = checkpoint.encode("+")[0], checkpoint.encode("a")[0]
            if self.step == 0:
                self.is_a = tokens[:, -1] == a
            script = stop[self.step] if self.step < len(stop) else plus
            self.step += 1
            chosen = torch.where(self.is_a, script, plus)
            return torch.nn.functional.one_hot(chosen, checkpoint.tokenizer.get_vocab_size())[
                :, None
            ]

    scripted = Checkpoint(
        model=Scripted(),  # type: ignore[arg-type]
        tokenizer=checkpoint.tokenizer,
        end_of_text=checkpoint.end_of_text,
        max_seq_len=CONTEXT_TOKENS,
        device="cpu",
    )
    stopped, full = answers(scripted, ["a", "b"])
    assert (stopped["completion"], stopped["stop_reason"]) == ("", "stop_sequence")
    assert stopped["num_tokens"] < full["num_tokens"] == 12
    assert (full["completion"], full["stop_reason"]) == ("+" * 12, "length")


def test_a_prompt_that_is_too_long_loses_its_beginning_and_says_so() -> None:
    checkpoint = a_loaded_checkpoint()
    prompt = "second " * 100
    (row,) = answers(checkpoint, [prompt])
    room = CONTEXT_TOKENS - 12 - 1
    assert row["num_cut_prompt_tokens"] == len(checkpoint.encode(prompt)) - room > 0


def test_what_a_prompt_lost_is_recorded() -> None:
    (row,) = answers(a_loaded_checkpoint(), ["x"])
    assert (row["num_stripped_newlines"], row["num_cut_prompt_tokens"]) == (1, 0)
