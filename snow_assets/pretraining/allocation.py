"""Allocate a phase's exact token budget to languages, in whole sequences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PYTHON = "python"


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """Sequences by language; `note` explains an unmet `python_fraction`, else it is None."""

    sequences: Mapping[str, int]
    python_fraction: float  # as allocated, not as requested
    note: str | None


def allocate_sequences(
    tokens: Mapping[str, int],
    *,
    sequences: int,
    max_seq_len: int,
    python_fraction: float | None,
    python_shortfall: Literal["refuse", "fill"],
) -> Quotas:
    """Allocate `sequences` to languages in proportion to their `tokens` over all passes.

    Shares are rounded by largest remainder (ties: language name), and no language gets more than
    its tokens fill. With `python_fraction`, Python gets that fraction and the other languages keep
    their proportions. ValueError names the available and needed tokens if the budget is not met.
    """
    capacity = {name: num_tokens // max_seq_len for name, num_tokens in sorted(tokens.items())}
    if sum(capacity.values()) < sequences:
        raise ValueError(
            f"{sum(tokens.values())} tokens, all passes counted, fill {sum(capacity.values())} "
            f"sequences of {max_seq_len}, and the phase needs {sequences} "
            f"({sequences * max_seq_len} tokens): add data, raise max_passes or lower the "
            f"phase's tokens; on offer are {dict(sorted(tokens.items()))}"
        )
    if python_fraction is None:
        allocated = _largest_remainder(tokens, capacity, sequences)
        return Quotas(
            sequences=allocated, python_fraction=allocated.get(PYTHON, 0) / sequences, note=None
        )
    return _with_python_fraction(tokens, capacity, sequences, python_fraction, python_shortfall)


def _with_python_fraction(
    tokens: Mapping[str, int],
    capacity: Mapping[str, int],
    sequences: int,
    python_fraction: float,
    python_shortfall: str,
) -> Quotas:
    requested = round(python_fraction * sequences)
    python_capacity = capacity.get(PYTHON, 0)
    other_tokens = {name: num_tokens for name, num_tokens in tokens.items() if name != PYTHON}
    other_capacity = {name: capacity[name] for name in other_tokens}
    python_sequences = min(
        python_capacity, max(requested, sequences - sum(other_capacity.values()))
    )
    note = None
    if python_sequences != requested:
        limiting = PYTHON if python_sequences < requested else "the other languages"
        note = (
            f"Python was to have {requested} of {sequences} sequences and got {python_sequences}, "
            f"because {limiting} offered too little: room for {python_capacity} of Python, "
            f"{sum(other_capacity.values())} of the others"
        )
        if python_shortfall == "refuse":
            raise ValueError(
                f"{note}; add data, raise max_passes, or set python_shortfall to 'fill'"
            )
    allocated = _largest_remainder(other_tokens, other_capacity, sequences - python_sequences)
    if PYTHON in tokens:
        allocated[PYTHON] = python_sequences
    return Quotas(
        sequences=dict(sorted(allocated.items())),
        python_fraction=python_sequences / sequences,
        note=note,
    )


def _largest_remainder(
    tokens: Mapping[str, int], capacity: Mapping[str, int], sequences: int
) -> dict[str, int]:
    """Largest-remainder allocation of `sequences` by `tokens`, capped by `capacity`.

    The capacities must sum to at least `sequences`.
    """
    total = sum(tokens.values())
    allocated = {
        name: min(capacity[name], sequences * num_tokens // total) if total else 0
        for name, num_tokens in sorted(tokens.items())
    }
    by_remainder = sorted(
        allocated, key=lambda name: (-(sequences * tokens[name] % (total or 1)), name)
    )
    unallocated = sequences - sum(allocated.values())
    while unallocated:
        for name in by_remainder:
            if unallocated and allocated[name] < capacity[name]:
                allocated[name] += 1
                unallocated -= 1
    return allocated
