"""E-mail addresses, keys and passwords out of a text; typed placeholders in.

Layers, surest first; where two claim the same characters, the first has them:

1. private keys, where key material stands between their markers (`key_material`);
2. formats of providers: gitleaks' rules and a few more (`secret_rules`);
3. passwords in URLs (`scheme://user:password@host`);
4. values that a telling name is assigned, with quotes or without (`assigned_secrets`);
5. e-mail addresses (`email_addresses`).

Not looked for: names of people, IP addresses, telephone numbers, a secret whose name does not tell
and whose form no provider owns. A redacted text is left as it is.

The expressions decide; where they are tried, one pass over the bytes says (see `secret_places`).
"""

import bisect
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.assigned_secrets import (
    ASSIGNED,
    NAME_PARTS,
    WORDPRESS_KEY,
    assigned_secret,
    is_wordpress_key,
)
from snow_assets.curation.byte_prefixes import WORD_BYTES, BytePrefix, byte_prefixes
from snow_assets.curation.columns import buffers, with_values
from snow_assets.curation.email_addresses import EMAIL, email_match, email_span
from snow_assets.curation.key_material import KEY_BLOCK, PUTTY_LINES, key_block_spans
from snow_assets.curation.secret_places import (
    ANYWHERE,
    ASSIGNED_KEY,
    ASSIGNED_PASSWORD,
    ASSIGNED_TO_PRODUCT,
    EMAIL_AT,
    PLAIN,
    URL,
    WORD_START,
    Prefix,
    Prefixes,
    secret_places,
)
from snow_assets.curation.secret_rules import SecretRule, secret_rules
from snow_assets.curation.secret_values import is_url_password

PLACEHOLDERS = {"email": "<EMAIL>", "key": "<KEY>", "password": "<PASSWORD>"}

Span = tuple[int, int]
Judgement = tuple[str, Sequence[Span]]
"""What is counted (a key of PLACEHOLDERS), and the spans of the secret in the text."""

_URL_PASSWORD = re.compile(r"://[^\s/:@\"'<>]{0,256}:([^\s/@\"'<>]{3,128})@(?=[\w\[])", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Redacted:
    """A text without secrets, and how many of each type it held."""

    text: str
    num_emails: int
    num_keys: int
    num_passwords: int


@dataclass(frozen=True, kw_only=True)
class RedactedColumn:
    """A column of texts without secrets, and how many of each type each held."""

    texts: pa.Array
    num_emails: npt.NDArray[np.int64]
    num_keys: npt.NDArray[np.int64]
    num_passwords: npt.NDArray[np.int64]


class Secret(NamedTuple):
    """A secret of a text. Its first span becomes the placeholder; the others are removed."""

    rule: str
    kind: str  # a key of PLACEHOLDERS
    spans: Sequence[Span]


@dataclass(frozen=True)
class Rule:
    """How a kind of secret is recognised.

    `match` reads a text at a place of the finder; `judge` judges the match. `prefixes` are what
    each match begins with, for the finder; of a rule that is searched anywhere they are its
    `keywords`, one of which a text must hold.
    """

    name: str
    pattern: Callable[[], re.Pattern[str]]
    judge: Callable[[re.Match[str]], Judgement | None]
    prefixes: Sequence[tuple[Sequence[frozenset[int]], int]]
    keywords: Sequence[str] = ()

    def match(self, text: str, place: int) -> re.Match[str] | None:
        return self.pattern().match(text, place)


class _EmailRule(Rule):
    def match(self, text: str, place: int) -> re.Match[str] | None:
        return email_match(text, place)


def redact(text: str) -> Redacted:
    """Replace secrets by placeholders; a redacted text is left as it is."""
    column = redact_column(pa.array([text], pa.string()))
    return Redacted(
        text=column.texts[0].as_py(),
        num_emails=int(column.num_emails[0]),
        num_keys=int(column.num_keys[0]),
        num_passwords=int(column.num_passwords[0]),
    )


def redact_column(texts: pa.Array) -> RedactedColumn:
    """`redact` each text of a column."""
    counts = {kind: np.zeros(len(texts), dtype=np.int64) for kind in PLACEHOLDERS}
    changed: dict[int, str] = {}
    for row, places in places_by_row(texts):
        text = texts[row].as_py()
        secrets = find_secrets(text, places)
        if secrets:
            changed[row] = replace_secrets(text, secrets)
            for kind, count in Counter(secret.kind for secret in secrets).items():
                counts[kind][row] = count
    return RedactedColumn(
        texts=with_values(texts, changed),
        num_emails=counts["email"],
        num_keys=counts["key"],
        num_passwords=counts["password"],
    )


def replace_secrets(text: str, secrets: Sequence[Secret]) -> str:
    """Put placeholders in the places of secrets that do not overlap."""
    replacements = sorted(
        (start, end, PLACEHOLDERS[secret.kind] if number == 0 else "")
        for secret in secrets
        for number, (start, end) in enumerate(secret.spans)
    )
    pieces, done = [], 0
    for start, end, placeholder in replacements:
        pieces += [text[done:start], placeholder]
        done = end
    return "".join([*pieces, text[done:]])


def find_secrets(text: str, places: Mapping[int, Sequence[int]]) -> list[Secret]:
    """Secrets that do not overlap, given rule -> the bytes at which its matches may begin."""
    secrets: list[Secret] = []
    spans = DisjointSpans()
    rules = redaction_rules()
    for number, starts in sorted(places.items()):
        rule = rules[number]
        for match in _matches(rule, text, starts):
            judgement = rule.judge(match)
            if judgement is not None and spans.add(judgement[1]):
                secrets.append(Secret(rule.name, *judgement))
    return secrets


class DisjointSpans:
    """Spans of a text of which none overlaps another."""

    def __init__(self) -> None:
        self._spans: list[Span] = []

    def add(self, spans: Sequence[Span]) -> bool:
        """Add spans unless one overlaps a span that is there; return whether they were added."""
        for start, end in spans:
            at = bisect.bisect_left(self._spans, (end, 0))
            if at and self._spans[at - 1][1] > start:
                return False
        for span in spans:
            bisect.insort(self._spans, span)
        return bool(spans)


def _matches(rule: Rule, text: str, starts: Sequence[int]) -> Iterator[re.Match[str]]:
    if rule.keywords:
        yield from rule.pattern().finditer(text)
        return
    for place in _chars(text, starts):
        if match := rule.match(text, place):
            yield match


def _chars(text: str, places: Sequence[int]) -> Sequence[int]:
    """Places in a text's bytes as places in its characters."""
    if text.isascii():
        return places
    content = text.encode()
    pieces = [content[begin:end] for begin, end in itertools.pairwise([0, *places])]
    return list(itertools.accumulate(len(piece.decode()) for piece in pieces))


def places_by_row(texts: pa.Array) -> Iterator[tuple[int, Mapping[int, Sequence[int]]]]:
    """Each text that may hold a secret, and where."""
    places = secret_places(*buffers(texts), _prefixes()).tolist()
    for row, of_row in itertools.groupby(places, key=lambda place: place[0]):
        by_rule: dict[int, list[int]] = {}
        for _, rule, place in of_row:
            by_rule.setdefault(rule, []).append(place)
        yield row, by_rule


@cache
def _prefixes() -> Prefixes:
    return Prefixes.of(
        [
            Prefix(number, sets, context)
            for number, rule in enumerate(redaction_rules())
            for sets, context in rule.prefixes
        ]
    )


@cache
def redaction_rules() -> Sequence[Rule]:
    """All rules, surest first."""
    return [
        _rule("private-key", KEY_BLOCK, _private_key),
        _rule("putty-private-key", PUTTY_LINES, _group_secret("key")),
        *map(_format_rule, secret_rules()),
        Rule(
            "url-password",
            lambda: _URL_PASSWORD,
            _url_password,
            [([frozenset(b":"), frozenset(b"/"), frozenset(b"/")], URL)],
        ),
        _rule("wordpress-key", WORDPRESS_KEY, _wordpress_key),
        Rule("assigned", lambda: ASSIGNED, _assigned, list(_assigned_prefixes())),
        _EmailRule("email", lambda: EMAIL, _email, [(_AT_PREFIX, EMAIL_AT)]),
    ]


_AT_PREFIX = [frozenset(b"@"), (WORD_BYTES - frozenset(b"_")) | frozenset(range(0x80, 256))]


def _assigned_prefixes() -> Iterator[tuple[Sequence[frozenset[int]], int]]:
    for part in NAME_PARTS:
        context = ASSIGNED_PASSWORD if part in ("pass", "pwd") else ASSIGNED_KEY
        yield byte_prefixes(f"(?i:{part})")[0].sets, context


def _rule(
    name: str, pattern: re.Pattern[str], secret: Callable[[re.Match[str]], Judgement | None]
) -> Rule:
    prefixes = byte_prefixes(pattern.pattern)
    return Rule(name, lambda: pattern, secret, [(prefix.sets, PLAIN) for prefix in prefixes])


def _format_rule(rule: SecretRule) -> Rule:
    keywords = rule.keywords if rule.is_searched_anywhere else ()
    prefixes = [(prefix.sets, _context(rule, prefix)) for prefix in rule.prefixes]
    if keywords:
        prefixes = [
            (byte_prefixes(f"(?i:{re.escape(keyword)})")[0].sets, ANYWHERE) for keyword in keywords
        ]
    secret = partial(_format_secret, rule)
    return Rule(rule.rule_id, lambda: rule.pattern, secret, prefixes, keywords)


def _context(rule: SecretRule, prefix: BytePrefix) -> int:
    if rule.names_product:
        return ASSIGNED_TO_PRODUCT
    return WORD_START if prefix.at_word_boundary else PLAIN


def _format_secret(rule: SecretRule, match: re.Match[str]) -> Judgement | None:
    span = rule.secret_span(match)
    return (rule.kind, [span]) if span is not None else None


def _private_key(match: re.Match[str]) -> Judgement | None:
    spans = key_block_spans(match)
    return ("key", spans) if spans else None


def _group_secret(kind: str) -> Callable[[re.Match[str]], Judgement | None]:
    return lambda match: (kind, [match.span(1)])


def _url_password(match: re.Match[str]) -> Judgement | None:
    return ("password", [match.span(1)]) if is_url_password(match[1]) else None


def _wordpress_key(match: re.Match[str]) -> Judgement | None:
    return ("key", [match.span(2)]) if is_wordpress_key(match[2]) else None


def _assigned(match: re.Match[str]) -> Judgement | None:
    secret = assigned_secret(match)
    return (secret[0], [secret[1]]) if secret is not None else None


def _email(match: re.Match[str]) -> Judgement | None:
    span = email_span(match)
    return ("email", [span]) if span is not None else None
