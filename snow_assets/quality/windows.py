"""Which sections of a text the encoder reads: one, two or three windows of tokens."""

from collections.abc import Callable, Sequence

RULE = "top-middle-bottom/16"
"""Part of the annotator's version: change it with the rule."""

_SECTION_CHARS_PER_TOKEN = 16  # a BERT tokenizer takes 2 to 5 characters of code per token

Tokens = Sequence[int]


def windows(text: str, tokenize: Callable[[str], Tokens], *, size: int) -> list[Tokens]:
    """A text of up to `size` tokens whole; of up to twice as many, its top and bottom; else its
    top, middle and bottom, each exactly `size` tokens long where the text is dense enough.

    Of a text beyond 48 characters per token of a window only three sections are tokenized, so
    the cost of a giant file is bounded; a section of mostly blanks is then a shorter window.
    """
    section = size * _SECTION_CHARS_PER_TOKEN
    if len(text) <= 3 * section:
        tokens = tokenize(text)
        if len(tokens) <= size:
            return [tokens]
        if len(tokens) <= 2 * size:
            return [tokens[:size], tokens[-size:]]
        return [tokens[:size], _middle(tokens, size), tokens[-size:]]
    start = (len(text) - section) // 2
    return [
        tokenize(text[:section])[:size],
        _middle(tokenize(text[start : start + section]), size),
        tokenize(text[-section:])[-size:],
    ]


def _middle(tokens: Tokens, size: int) -> Tokens:
    start = max(0, (len(tokens) - size) // 2)
    return tokens[start : start + size]
