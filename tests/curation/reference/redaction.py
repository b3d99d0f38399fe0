"""Redaction without the pass over bytes: each rule is tried at every place of a text.

The rules and their judges are the product's; what is held against it is where they are tried.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from snow_assets.curation.redaction.redact import PLACEHOLDERS, redaction_rules


@dataclass(frozen=True, kw_only=True)
class Redacted:
    """A text without secrets, and how many of each type it held."""

    text: str
    num_emails: int
    num_keys: int
    num_passwords: int


def redact(text: str) -> Redacted:
    """Replace secrets by placeholders; where two overlap, the first rule's is replaced."""
    counts: Counter[str] = Counter()
    replaced: dict[tuple[int, int], str] = {}
    for rule in redaction_rules():
        if rule.keywords and not any(keyword in text.lower() for keyword in rule.keywords):
            continue
        for match in _every_match(rule.pattern(), text):
            judgement = rule.extract(match)
            if judgement is None:
                continue
            kind, spans = judgement
            if any(a < end and start < b for start, end in spans for a, b in replaced):
                continue
            counts[kind] += 1
            for number, span in enumerate(spans):
                replaced[span] = "" if number else PLACEHOLDERS[kind]
    for (start, end), placeholder in sorted(replaced.items(), reverse=True):
        text = text[:start] + placeholder + text[end:]
    return Redacted(
        text=text,
        num_emails=counts["email"],
        num_keys=counts["key"],
        num_passwords=counts["password"],
    )


def _every_match(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Matches at every place where one begins, also within another."""
    place = 0
    while match := pattern.search(text, place):
        yield match
        place = match.start() + 1
