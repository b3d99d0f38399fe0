"""Redaction of PII and secrets: replace e-mail addresses, keys and passwords by placeholders.

Layers in order of precision; of overlapping matches the first layer's is used:

1. private keys, with key material between their markers (`key_material`);
2. formats of providers: gitleaks' rules and a few more (`secret_rules`);
3. passwords in URLs (`scheme://user:password@host`);
4. values assigned to a secret-like name, quoted or not (`assigned_secrets`);
5. e-mail addresses (`email_addresses`).

Not detected: names of people, IP addresses, telephone numbers, secrets with neither a secret-like
name nor a provider's format. Redaction is idempotent.

Regular expressions decide; they are tried at the candidate offsets of `secret_prefilter`.
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

from snow_assets.curation.columns import buffers, replace_values
from snow_assets.curation.redaction.assigned_secrets import (
    ASSIGNED,
    NAME_PARTS,
    WORDPRESS_KEY,
    assigned_secret,
    is_wordpress_key,
)
from snow_assets.curation.redaction.byte_prefixes import WORD_BYTES, BytePrefix, byte_prefixes
from snow_assets.curation.redaction.email_addresses import EMAIL, email_match, email_span
from snow_assets.curation.redaction.key_material import KEY_BLOCK, PUTTY_LINES, key_block_spans
from snow_assets.curation.redaction.secret_prefilter import (
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
    candidate_offsets,
)
from snow_assets.curation.redaction.secret_rules import SecretRule, secret_rules
from snow_assets.curation.redaction.secret_values import is_url_password

PLACEHOLDERS = {"email": "<EMAIL>", "key": "<KEY>", "password": "<PASSWORD>"}

Span = tuple[int, int]
Extraction = tuple[str, Sequence[Span]]
"""The kind of a secret (a key of PLACEHOLDERS), and its spans in the text."""

_URL_PASSWORD = re.compile(r"://[^\s/:@\"'<>]{0,256}:([^\s/@\"'<>]{3,128})@(?=[\w\[])", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Redacted:
    """A redacted text, and the number of secrets of each kind."""

    text: str
    num_emails: int
    num_keys: int
    num_passwords: int


@dataclass(frozen=True, kw_only=True)
class RedactedColumn:
    """A column of redacted texts, and the number of secrets of each kind per text."""

    texts: pa.Array
    num_emails: npt.NDArray[np.int64]
    num_keys: npt.NDArray[np.int64]
    num_passwords: npt.NDArray[np.int64]


class Secret(NamedTuple):
    """A secret of a text. Its first span becomes the placeholder; further spans are removed."""

    rule: str
    kind: str  # a key of PLACEHOLDERS
    spans: Sequence[Span]


@dataclass(frozen=True)
class Rule:
    """A detection rule of a kind of secret.

    `match` applies the pattern at a candidate offset; `extract` returns the secret of a match, or
    None for a false positive. `prefixes` are the byte prefixes of matches, for the prefilter; of a
    rule that is searched anywhere they are its `keywords`, one of which a text must contain.
    """

    name: str
    pattern: Callable[[], re.Pattern[str]]
    extract: Callable[[re.Match[str]], Extraction | None]
    prefixes: Sequence[tuple[Sequence[frozenset[int]], int]]
    keywords: Sequence[str] = ()

    def match(self, text: str, offset: int) -> re.Match[str] | None:
        return self.pattern().match(text, offset)


class _EmailRule(Rule):
    def match(self, text: str, offset: int) -> re.Match[str] | None:
        return email_match(text, offset)


def redact(text: str) -> Redacted:
    """Replace secrets by placeholders; idempotent."""
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
    for row, candidates in candidates_by_row(texts):
        text = texts[row].as_py()
        secrets = find_secrets(text, candidates)
        if secrets:
            changed[row] = replace_secrets(text, secrets)
            for kind, count in Counter(secret.kind for secret in secrets).items():
                counts[kind][row] = count
    return RedactedColumn(
        texts=replace_values(texts, changed),
        num_emails=counts["email"],
        num_keys=counts["key"],
        num_passwords=counts["password"],
    )


def replace_secrets(text: str, secrets: Sequence[Secret]) -> str:
    """Replace secrets that do not overlap by placeholders."""
    replacements = sorted(
        (start, end, PLACEHOLDERS[secret.kind] if index == 0 else "")
        for secret in secrets
        for index, (start, end) in enumerate(secret.spans)
    )
    parts, copied_end = [], 0
    for start, end, placeholder in replacements:
        parts += [text[copied_end:start], placeholder]
        copied_end = end
    return "".join([*parts, text[copied_end:]])


def find_secrets(text: str, candidates: Mapping[int, Sequence[int]]) -> list[Secret]:
    """Non-overlapping secrets, from rule index -> byte offsets at which matches may begin."""
    secrets: list[Secret] = []
    spans = DisjointSpans()
    rules = redaction_rules()
    for rule_index, offsets in sorted(candidates.items()):
        rule = rules[rule_index]
        for match in _matches(rule, text, offsets):
            extraction = rule.extract(match)
            if extraction is not None and spans.add(extraction[1]):
                secrets.append(Secret(rule.name, *extraction))
    return secrets


class DisjointSpans:
    """A set of non-overlapping spans of a text."""

    def __init__(self) -> None:
        self._spans: list[Span] = []

    def add(self, spans: Sequence[Span]) -> bool:
        """Add spans unless one overlaps an existing span; return whether they were added."""
        for start, end in spans:
            index = bisect.bisect_left(self._spans, (end, 0))
            if index and self._spans[index - 1][1] > start:
                return False
        for span in spans:
            bisect.insort(self._spans, span)
        return bool(spans)


def _matches(rule: Rule, text: str, byte_offsets: Sequence[int]) -> Iterator[re.Match[str]]:
    if rule.keywords:
        yield from rule.pattern().finditer(text)
        return
    for offset in _char_offsets(text, byte_offsets):
        if match := rule.match(text, offset):
            yield match


def _char_offsets(text: str, offsets: Sequence[int]) -> Sequence[int]:
    """Convert byte offsets of a text to character offsets."""
    if text.isascii():
        return offsets
    content = text.encode()
    parts = [content[start:end] for start, end in itertools.pairwise([0, *offsets])]
    return list(itertools.accumulate(len(part.decode()) for part in parts))


def candidates_by_row(texts: pa.Array) -> Iterator[tuple[int, Mapping[int, Sequence[int]]]]:
    """Row -> rule index -> byte offsets, for each text that may contain a secret."""
    candidates = candidate_offsets(*buffers(texts), _prefixes()).tolist()
    for row, row_candidates in itertools.groupby(candidates, key=lambda candidate: candidate[0]):
        by_rule: dict[int, list[int]] = {}
        for _, rule, offset in row_candidates:
            by_rule.setdefault(rule, []).append(offset)
        yield row, by_rule


@cache
def _prefixes() -> Prefixes:
    return Prefixes.of(
        [
            Prefix(rule_index, sets, context)
            for rule_index, rule in enumerate(redaction_rules())
            for sets, context in rule.prefixes
        ]
    )


@cache
def redaction_rules() -> Sequence[Rule]:
    """All rules, in order of precision."""
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
    name: str, pattern: re.Pattern[str], extract: Callable[[re.Match[str]], Extraction | None]
) -> Rule:
    prefixes = byte_prefixes(pattern.pattern)
    return Rule(name, lambda: pattern, extract, [(prefix.sets, PLAIN) for prefix in prefixes])


def _format_rule(rule: SecretRule) -> Rule:
    keywords = rule.keywords if rule.is_searched_anywhere else ()
    prefixes = [(prefix.sets, _context(rule, prefix)) for prefix in rule.prefixes]
    if keywords:
        prefixes = [
            (byte_prefixes(f"(?i:{re.escape(keyword)})")[0].sets, ANYWHERE) for keyword in keywords
        ]
    extract = partial(_format_secret, rule)
    return Rule(rule.rule_id, lambda: rule.pattern, extract, prefixes, keywords)


def _context(rule: SecretRule, prefix: BytePrefix) -> int:
    if rule.names_product:
        return ASSIGNED_TO_PRODUCT
    return WORD_START if prefix.at_word_boundary else PLAIN


def _format_secret(rule: SecretRule, match: re.Match[str]) -> Extraction | None:
    span = rule.secret_span(match)
    return (rule.kind, [span]) if span is not None else None


def _private_key(match: re.Match[str]) -> Extraction | None:
    spans = key_block_spans(match)
    return ("key", spans) if spans else None


def _group_secret(kind: str) -> Callable[[re.Match[str]], Extraction | None]:
    return lambda match: (kind, [match.span(1)])


def _url_password(match: re.Match[str]) -> Extraction | None:
    return ("password", [match.span(1)]) if is_url_password(match[1]) else None


def _wordpress_key(match: re.Match[str]) -> Extraction | None:
    return ("key", [match.span(2)]) if is_wordpress_key(match[2]) else None


def _assigned(match: re.Match[str]) -> Extraction | None:
    secret = assigned_secret(match)
    return (secret[0], [secret[1]]) if secret is not None else None


def _email(match: re.Match[str]) -> Extraction | None:
    span = email_span(match)
    return ("email", [span]) if span is not None else None
