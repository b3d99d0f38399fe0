"""Select the one, two or three token windows of a text that the encoder reads."""

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
    """Yield each text's windows of at most `size` tokens.

    Up to `size` tokens: the whole text; up to twice as many: top and bottom; else top, middle and
    bottom. Of a text longer than 48 characters per window token only three sections are tokenized,
    which bounds the cost of large files; a section of mostly whitespace gives a shorter window.
    """
    sections = [_sections(text, size * _SECTION_CHARS_PER_TOKEN) for text in texts]
    tokens = iter(tokenize([part for section_tokens in sections for part in section_tokens]))
    for section_tokens in sections:
        yield _select_windows(list(islice(tokens, len(section_tokens))), size)


def _sections(text: str, section: int) -> list[str]:
    if len(text) <= 3 * section:
        return [text]
    start = (len(text) - section) // 2
    return [text[:section], text[start : start + section], text[-section:]]


def _select_windows(parts: Sequence[Tokens], size: int) -> list[Tokens]:
    top, middle, bottom = parts[0], parts[len(parts) // 2], parts[-1]
    if len(parts) == 1 and len(top) <= size:
        return [top]
    if len(parts) == 1 and len(top) <= 2 * size:
        return [top[:size], top[-size:]]
    return [top[:size], _middle(middle, size), bottom[-size:]]


def _middle(tokens: Tokens, size: int) -> Tokens:
    start = max(0, (len(tokens) - size) // 2)
    return tokens[start : start + size]
