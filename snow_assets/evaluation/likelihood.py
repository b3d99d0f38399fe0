"""Negative log-likelihood of texts under a checkpoint, in nats, summed over tokens.

Every text follows one end-of-text token, which is not scored; no end-of-text is predicted after the
text. Texts longer than the context are scored in overlapping windows, so that a token deep in a
text is predicted from at least context minus stride tokens.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch.nn.functional import cross_entropy

from snow_assets.evaluation.checkpoint import Checkpoint

_IGNORE_INDEX = -100  # cross_entropy's ignore_index


@dataclass(frozen=True, kw_only=True)
class ScoredSequence:
    """Token ids, of which the first `num_context` are context and the rest is scored."""

    tokens: Sequence[int]
    num_context: int


@dataclass(frozen=True, kw_only=True)
class Window:
    """`labels[i]` is predicted from `input_ids[:i + 1]`; `_IGNORE_INDEX` is not scored."""

    sequence: int
    input_ids: list[int]
    labels: list[int]


def windows(
    sequence: ScoredSequence, index: int, *, max_seq_len: int, stride_tokens: int
) -> Iterator[Window]:
    """Split a sequence into windows so that each scored token is a label exactly once.

    The first window scores all tokens that fit; each further one scores the next `stride_tokens`,
    the last one maybe fewer, with the preceding tokens as context.
    """
    tokens, next_scored = list(sequence.tokens), sequence.num_context
    while next_scored < len(tokens):
        end = min(len(tokens), max(next_scored + stride_tokens, max_seq_len + 1))
        first = max(0, end - max_seq_len - 1)
        labels = tokens[first + 1 : end]
        num_ignored = next_scored - first - 1
        yield Window(
            sequence=index,
            input_ids=tokens[first : end - 1],
            labels=[_IGNORE_INDEX] * num_ignored + labels[num_ignored:],
        )
        next_scored = end


@torch.inference_mode()
def _batch_nats(checkpoint: Checkpoint, batch: Sequence[Window]) -> list[float]:
    max_length = max(len(window.input_ids) for window in batch)
    # Right padding does not affect earlier positions of a causal model.
    input_ids = [
        window.input_ids + [checkpoint.end_of_text] * (max_length - len(window.input_ids))
        for window in batch
    ]
    labels = [
        window.labels + [_IGNORE_INDEX] * (max_length - len(window.labels)) for window in batch
    ]
    logits = checkpoint.model(
        torch.tensor(input_ids, device=checkpoint.device), use_cache=False
    ).logits
    nats = cross_entropy(
        logits.float().flatten(0, 1),
        torch.tensor(labels, device=checkpoint.device).flatten(),
        ignore_index=_IGNORE_INDEX,
        reduction="none",
    )
    return [
        float(window_nats) for window_nats in nats.view(len(batch), max_length).double().sum(dim=1)
    ]


def sequence_nats(
    checkpoint: Checkpoint,
    sequences: Sequence[ScoredSequence],
    *,
    stride_tokens: int,
    batch_windows: int,
) -> list[float]:
    """Sum of nats of each sequence's scored tokens. Memory: logits of `batch_windows` contexts."""
    all_windows = (
        window
        for index, sequence in enumerate(sequences)
        for window in windows(
            sequence,
            index,
            max_seq_len=checkpoint.max_seq_len,
            stride_tokens=stride_tokens,
        )
    )
    nats = [0.0] * len(sequences)
    for batch in _batched(all_windows, batch_windows):
        for window, window_nats in zip(batch, _batch_nats(checkpoint, batch), strict=True):
            nats[window.sequence] += window_nats
    return nats


def _batched(items: Iterable[Window], size: int) -> Iterator[list[Window]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
