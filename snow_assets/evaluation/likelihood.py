"""What a text costs a checkpoint, in nats: its tokens' negative log-likelihoods, summed.

Every text is scored after one end-of-text token, which its first token is predicted from and
which costs nothing itself; no end-of-text is expected after it. Texts longer than the context are
read through overlapping windows, so that a token far inside is predicted from at least the
context minus the stride.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch.nn.functional import cross_entropy

from snow_assets.evaluation.checkpoint import Checkpoint

_NOT_SCORED = -100  # cross_entropy's ignore_index


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Tokens, of which the first `num_given` are read and the others are scored."""

    tokens: Sequence[int]
    num_given: int


@dataclass(frozen=True, kw_only=True)
class Window:
    """`targets[i]` is predicted from `inputs[:i + 1]`, and counts unless it is not scored."""

    sequence: int
    inputs: list[int]
    targets: list[int]


def windows(
    sequence: Scored, index: int, *, context_tokens: int, stride_tokens: int
) -> Iterator[Window]:
    """Cut a sequence so that each scored token is a target exactly once.

    The first window scores all that fits; each further one `stride_tokens` more, the last perhaps
    fewer, and fills the rest of the context with what stands before.
    """
    tokens, begin_scored = list(sequence.tokens), sequence.num_given
    while begin_scored < len(tokens):
        end = min(len(tokens), max(begin_scored + stride_tokens, context_tokens + 1))
        begin = max(0, end - context_tokens - 1)
        targets = tokens[begin + 1 : end]
        num_seen = begin_scored - begin - 1
        yield Window(
            sequence=index,
            inputs=tokens[begin : end - 1],
            targets=[_NOT_SCORED] * num_seen + targets[num_seen:],
        )
        begin_scored = end


@torch.inference_mode()
def _window_nats(checkpoint: Checkpoint, batch: Sequence[Window]) -> list[float]:
    longest = max(len(window.inputs) for window in batch)
    # Padded on the right, where a causal model's earlier positions cannot see it.
    inputs = [
        window.inputs + [checkpoint.end_of_text] * (longest - len(window.inputs))
        for window in batch
    ]
    targets = [window.targets + [_NOT_SCORED] * (longest - len(window.targets)) for window in batch]
    logits = checkpoint.model(torch.tensor(inputs, device=checkpoint.device))
    nats = cross_entropy(
        logits.float().flatten(0, 1),
        torch.tensor(targets, device=checkpoint.device).flatten(),
        ignore_index=_NOT_SCORED,
        reduction="none",
    )
    return [float(each) for each in nats.view(len(batch), longest).double().sum(dim=1)]


def sequence_nats(
    checkpoint: Checkpoint,
    sequences: Sequence[Scored],
    *,
    stride_tokens: int,
    batch_windows: int,
) -> list[float]:
    """Nats of each sequence's scored tokens. Memory: the logits of `batch_windows` contexts."""
    cut = (
        window
        for index, sequence in enumerate(sequences)
        for window in windows(
            sequence,
            index,
            context_tokens=checkpoint.context_tokens,
            stride_tokens=stride_tokens,
        )
    )
    nats = [0.0] * len(sequences)
    for batch in _batched(cut, batch_windows):
        for window, cost in zip(batch, _window_nats(checkpoint, batch), strict=True):
            nats[window.sequence] += cost
    return nats


def _batched(items: Iterable[Window], size: int) -> Iterator[list[Window]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
