"""What of a benchmark problem would give it away: its description, its program."""

import re

_TRIPLE_QUOTED = re.compile(r'("""|\'\'\')(.*?)\1', re.DOTALL)


def docstrings(prompt: str) -> list[str]:
    """The texts that describe a task in its prompt: the docstrings, or else the whole prompt."""
    found = [match.group(2) for match in _TRIPLE_QUOTED.finditer(prompt)]
    return [text for text in found if text.strip()] or [prompt]


def signature(prompt: str) -> str:
    """A prompt without its docstrings."""
    return _TRIPLE_QUOTED.sub("", prompt)
