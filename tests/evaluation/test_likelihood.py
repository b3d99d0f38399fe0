"""What a text costs, against the slow and plain way to find it."""

import math

import pytest
import torch

from snow_assets.evaluation.checkpoint import Checkpoint
from snow_assets.evaluation.likelihood import ScoredSequence, sequence_nats, windows
from tests.evaluation.builders import CONTEXT_TOKENS, a_loaded_checkpoint


def plain_nats(checkpoint: Checkpoint, tokens: list[int], given: int, contexts: list[int]) -> float:
    """Each token predicted alone, from as many tokens as `contexts` says."""
    total = 0.0
    for position in range(given, len(tokens)):
        before = tokens[position - contexts[position] : position]
        logits = checkpoint.model(torch.tensor([before])).logits[0, -1]
        total -= torch.log_softmax(logits.double(), -1)[tokens[position]].item()
    return total


def contexts_of(tokens: list[int], given: int, stride: int) -> list[int]:
    """How many tokens the windows show before each position; 0 where nothing is scored."""
    shown = [0] * len(tokens)
    scored = ScoredSequence(tokens=tokens, num_context=given)
    end = given
    for window in windows(scored, 0, max_seq_len=CONTEXT_TOKENS, stride_tokens=stride):
        num_new = sum(target >= 0 for target in window.labels)
        end += num_new
        for back in range(num_new):
            shown[end - 1 - back] = len(window.input_ids) - back
    return shown


@pytest.mark.parametrize("length", [2, 40, 65, 66, 97, 98, 300])
@pytest.mark.parametrize("given", [1, 20, 150])
@pytest.mark.parametrize("stride", [1, 32, 64])
def test_each_scored_token_is_a_target_exactly_once(length: int, given: int, stride: int) -> None:
    tokens = list(range(length))
    scored = ScoredSequence(tokens=tokens, num_context=given)
    cut = list(windows(scored, 0, max_seq_len=CONTEXT_TOKENS, stride_tokens=stride))
    targets = [target for window in cut for target in window.labels if target >= 0]
    assert targets == tokens[given:]
    assert all(len(window.input_ids) == len(window.labels) <= CONTEXT_TOKENS for window in cut)


@pytest.mark.parametrize("given", [1, 100])
def test_a_token_far_inside_is_predicted_from_the_context_minus_the_stride(given: int) -> None:
    shown = contexts_of(list(range(400)), given, 16)
    assert min(shown[CONTEXT_TOKENS + given :]) >= CONTEXT_TOKENS - 16
    assert max(shown) == CONTEXT_TOKENS


@pytest.mark.parametrize(("length", "given"), [(30, 1), (150, 1), (150, 90)])
def test_windows_cost_what_the_plain_way_costs(length: int, given: int) -> None:
    checkpoint = a_loaded_checkpoint(seed=3)
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 250, (length,), generator=generator).tolist()
    found = sequence_nats(
        checkpoint,
        [ScoredSequence(tokens=tokens, num_context=given)],
        stride_tokens=32,
        batch_windows=3,
    )
    expected = plain_nats(checkpoint, tokens, given, contexts_of(tokens, given, 32))
    assert found == [pytest.approx(expected, rel=1e-5)]


def test_neighbours_in_a_batch_change_nothing() -> None:
    checkpoint = a_loaded_checkpoint(seed=3)
    short = ScoredSequence(tokens=[5, 6, 7], num_context=1)
    long = ScoredSequence(tokens=list(range(120)), num_context=1)
    alone = [
        sequence_nats(checkpoint, [each], stride_tokens=32, batch_windows=1)[0]
        for each in (short, long)
    ]
    together = sequence_nats(checkpoint, [short, long], stride_tokens=32, batch_windows=8)
    assert together == pytest.approx(alone, rel=1e-5)


def test_a_model_without_a_preference_costs_the_logarithm_of_its_vocabulary() -> None:
    checkpoint = a_loaded_checkpoint(uniform=True)
    tokens = checkpoint.encode("def add(first, second): pass\n" * 9)
    scored = ScoredSequence(tokens=[checkpoint.end_of_text, *tokens], num_context=1)
    found = sequence_nats(checkpoint, [scored], stride_tokens=32, batch_windows=2)
    size = checkpoint.model.config.vocab_size
    assert found == [pytest.approx(len(tokens) * math.log(size), rel=1e-6)]


def test_nothing_to_score_costs_nothing() -> None:
    checkpoint = a_loaded_checkpoint()
    scored = ScoredSequence(tokens=[checkpoint.end_of_text], num_context=1)
    assert sequence_nats(checkpoint, [scored], stride_tokens=32, batch_windows=2) == [0.0]
