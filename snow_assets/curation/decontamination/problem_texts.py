"""The parts of a benchmark problem that contamination is searched for."""

import re

_TRIPLE_QUOTED = re.compile(r'("""|\'\'\')(.*?)\1', re.DOTALL)


def docstrings(prompt: str) -> list[str]:
    """The task descriptions in a prompt: its docstrings, or else the complete prompt."""
    texts = [match.group(2) for match in _TRIPLE_QUOTED.finditer(prompt)]
    return [text for text in texts if text.strip()] or [prompt]


def prompt_without_docstrings(prompt: str) -> str:
    """A prompt without its docstrings."""
    return _TRIPLE_QUOTED.sub("", prompt)
