"""A phase's exact token budget, divided among the languages in whole sequences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PYTHON = "python"


@dataclass(frozen=True, kw_only=True)
class Quotas:
    """Sequences of each language; `note` says where a wish could not be met, else it is None."""

    sequences: Mapping[str, int]
    python_share: float  # as divided, not as wished
    note: str | None


def divide(
    tokens: Mapping[str, int],
    *,
    sequences: int,
    context_tokens: int,
    python_share: float | None,
    python_shortfall: Literal["refuse", "fill"],
) -> Quotas:
    """Give each language its share of `sequences`, by the tokens that it offers in all passes.

    Shares are rounded by largest remainder (ties: language name), and no language gets more than
    its tokens fill. With `python_share`, Python gets that share and the others keep their
    proportions. ValueError names the tokens offered and needed when the budget cannot be met.
    """
    room = {name: offered // context_tokens for name, offered in sorted(tokens.items())}
    if sum(room.values()) < sequences:
        raise ValueError(
            f"{sum(tokens.values())} tokens, all passes counted, fill {sum(room.values())} "
            f"sequences of {context_tokens}, and the phase needs {sequences} "
            f"({sequences * context_tokens} tokens): add data, raise max_passes or lower the "
            f"phase's tokens; on offer are {dict(sorted(tokens.items()))}"
        )
    if python_share is None:
        given = _by_largest_remainder(tokens, room, sequences)
        return Quotas(sequences=given, python_share=given.get(PYTHON, 0) / sequences, note=None)
    return _with_python_share(tokens, room, sequences, python_share, python_shortfall)


def _with_python_share(
    tokens: Mapping[str, int],
    room: Mapping[str, int],
    sequences: int,
    python_share: float,
    python_shortfall: str,
) -> Quotas:
    wished = round(python_share * sequences)
    python_room = room.get(PYTHON, 0)
    others = {name: offered for name, offered in tokens.items() if name != PYTHON}
    others_room = {name: room[name] for name in others}
    python = min(python_room, max(wished, sequences - sum(others_room.values())))
    note = None
    if python != wished:
        short = PYTHON if python < wished else "the other languages"
        note = (
            f"Python was to have {wished} of {sequences} sequences and got {python}, because "
            f"{short} offered too little: room for {python_room} of Python, "
            f"{sum(others_room.values())} of the others"
        )
        if python_shortfall == "refuse":
            raise ValueError(
                f"{note}; add data, raise max_passes, or set python_shortfall to 'fill'"
            )
    given = _by_largest_remainder(others, others_room, sequences - python)
    if PYTHON in tokens:
        given[PYTHON] = python
    return Quotas(sequences=dict(sorted(given.items())), python_share=python / sequences, note=note)


def _by_largest_remainder(
    tokens: Mapping[str, int], room: Mapping[str, int], sequences: int
) -> dict[str, int]:
    """`sequences` divided by `tokens`, none above its `room`; the rooms together must suffice."""
    total = sum(tokens.values())
    given = {
        name: min(room[name], sequences * offered // total) if total else 0
        for name, offered in sorted(tokens.items())
    }
    by_remainder = sorted(
        given, key=lambda name: (-(sequences * tokens[name] % (total or 1)), name)
    )
    left = sequences - sum(given.values())
    while left:
        for name in by_remainder:
            if left and given[name] < room[name]:
                given[name] += 1
                left -= 1
    return given
