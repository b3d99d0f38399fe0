"""Which sections of a text the encoder reads: one, two or three windows of tokens."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

RULE = "top-middle-bottom/16"
"""Part of the annotator's version: change it with the rule."""

_SECTION_CHARS_PER_TOKEN = 16  # a BERT tokenizer takes 2 to 5 characters of code per token

Tokens: TypeAlias = Sequence[int] | npt.NDArray[np.int32]


def windows(
    texts: Sequence[str], tokenize: Callable[[Sequence[str]], Sequence[Tokens]], *, size: int
) -> Iterator[list[Tokens]]:
    """Of each text up to `size` tokens long: all; of up to twice as many, its top and bottom; else
    its top, middle and bottom, each exactly `size` tokens long where the text is dense enough.

    Of a text beyond 48 characters per token of a window only three sections are tokenized, so
    the cost of a giant file is bounded; a section of mostly blanks is then a shorter window.
    """
    sections = [_sections(text, size * _SECTION_CHARS_PER_TOKEN) for text in texts]
    tokens = iter(tokenize([part for parts in sections for part in parts]))
    for parts in sections:
        yield _cut(list(islice(tokens, len(parts))), size)


def _sections(text: str, section: int) -> list[str]:
    if len(text) <= 3 * section:
        return [text]
    start = (len(text) - section) // 2
    return [text[:section], text[start : start + section], text[-section:]]


def _cut(parts: Sequence[Tokens], size: int) -> list[Tokens]:
    top, middle, bottom = parts[0], parts[len(parts) // 2], parts[-1]
    if len(parts) == 1 and len(top) <= size:
        return [top]
    if len(parts) == 1 and len(top) <= 2 * size:
        return [top[:size], top[-size:]]
    return [top[:size], _middle(middle, size), bottom[-size:]]


def _middle(tokens: Tokens, size: int) -> Tokens:
    start = max(0, (len(tokens) - size) // 2)
    return tokens[start : start + size]
