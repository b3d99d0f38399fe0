"""Secrets that their own form gives away: gitleaks' rules as data, and a few that they lack.

The rules come from `secret_data/gitleaks.toml` (MIT) and `secret_data/more_rules.toml` in one
schema: an expression, the least entropy of the secret, and what is allowed. Of gitleaks' rules,
those that name a product (`dropbox ... = <15 letters or digits>`) hold only where the name also
says that it is a secret and the value looks drawn at random; values with a prefix of their own
(`NRAK-`, `dnkey-`) are looked for without the name too.
"""

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from typing import Any

from snow_assets.curation.byte_prefixes import BytePrefix, byte_prefixes
from snow_assets.curation.go_regex import go_to_python
from snow_assets.curation.secret_names import is_product_secret
from snow_assets.curation.secret_prefilter import has_rare_pair
from snow_assets.curation.secret_values import (
    alternations,
    bits_per_char,
    is_basic_credentials,
    is_random_key,
    is_url_password,
)

Span = tuple[int, int]

# Texts that gitleaks' generator puts into its rules.
_NAME_BEFORE = r"[\w.-]{0,50}?"
_ASSIGNED = r"""(?:[ \t\w.-]{0,20})[\s'"]{0,3}(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)[\x60'"\s=]{0,5}"""
_ASSIGNED_IN_FLAG = _ASSIGNED.replace("{0,3}(", "{0,3})(", 1)
_END = r"""(?:[\x60'"\s;]|\\[nr]|$)"""
# Where a token may end in prose and code: not inside a longer word or Base64.
_END_OF_WORD = r"(?![\w+/=-])"
_NOT_IN_BASE64 = r"(?<![0-9A-Za-z][+/])"
_MIN_OWN_PREFIX = 4  # different bytes that tell a value's format without a name

_CHECKS = {"key": is_random_key, "basic": is_basic_credentials, "url_password": is_url_password}


@dataclass(frozen=True)
class SecretRule:
    """A format of secrets."""

    rule_id: str
    pattern_text: str
    prefixes: Sequence[BytePrefix]
    kind: str = "key"
    min_bits: float = 0.0
    secret_group: int = 0
    keywords: tuple[str, ...] = ()
    allowed_secrets: tuple[str, ...] = ()
    check: str | None = None
    names_product: bool = False
    is_weak: bool = False  # a prefix of one or two bytes: letters and digits must alternate

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self.pattern_text, re.ASCII)

    @cached_property
    def is_searched_anywhere(self) -> bool:
        """Whether matches begin with nothing rare: then texts with a keyword are searched."""
        return not all(has_rare_pair(prefix.sets) for prefix in self.prefixes)

    def secret_span(self, match: re.Match[str]) -> Span | None:
        """Where the secret of a match stands, or None if the match is none."""
        group = self.secret_group or next(
            (number for number, value in enumerate(match.groups(), 1) if value), 0
        )
        secret = match[group]
        if not secret or bits_per_char(secret) < self.min_bits or _is_allowed(self, secret):
            return None
        if self.names_product and not _is_product_secret(match, group):
            return None
        if self.check is not None and not _CHECKS[self.check](secret):
            return None
        if self.is_weak and alternations(secret) < 3:
            return None
        return match.span(group)


@dataclass(frozen=True)
class _Allowed:
    """What gitleaks allows everywhere."""

    pattern: re.Pattern[str]
    stopwords: tuple[str, ...] = field(default=())


@cache
def secret_rules() -> Sequence[SecretRule]:
    """All rules that are applied, in the files' order."""
    more = _toml("more_rules.toml")
    skipped = more["not_applied"]
    entries = [
        *(entry for entry in _toml("gitleaks.toml")["rules"] if entry["id"] not in skipped),
        *more["rules"],
    ]
    return [rule for entry in entries for rule in _rules_of(entry)]


def _toml(name: str) -> dict[str, Any]:
    text = (resources.files("snow_assets.curation") / "secret_data" / name).read_text("utf-8")
    return tomllib.loads(text)


def _rules_of(entry: Mapping[str, Any]) -> Iterator[SecretRule]:
    """A rule as it is applied, and a second one for a value with a prefix of its own."""
    whole = str(entry["regex"])
    if f"{_END}|" in whole:  # two formats in one rule
        for text in whole.split(f"{_END}|"):
            text += "" if text.endswith(_END) else _END
            yield from _rules_of({**entry, "regex": text})
        return
    text = whole
    values = {
        "kind": entry.get("kind", "key"),
        "min_bits": float(entry.get("entropy", 0.0)),
        "secret_group": int(entry.get("secretGroup", 0)),
        "keywords": tuple(entry.get("keywords", ())),
        "allowed_secrets": tuple(
            go_to_python(pattern)
            for allowed in entry.get("allowlists", ())
            if allowed.get("regexTarget", "secret") == "secret"
            for pattern in allowed.get("regexes", ())
        ),
        "check": entry.get("check"),
    }
    if assigned := next((form for form in (_ASSIGNED, _ASSIGNED_IN_FLAG) if form in text), None):
        yield from _product_rules(entry["id"], text, assigned, values)
        return
    pattern = go_to_python(text.replace(_END, _END_OF_WORD))
    prefixes = byte_prefixes(pattern)
    own = _literals(prefixes)
    if "check" not in entry and any(literal.isalnum() for literal in own):
        pattern = _NOT_IN_BASE64 + pattern
    is_weak = 1 <= min(map(len, own)) <= 2
    yield SecretRule(entry["id"], pattern, prefixes, **values, is_weak=is_weak)


def _product_rules(
    rule_id: str, text: str, assigned: str, values: Mapping[str, Any]
) -> Iterator[SecretRule]:
    """A rule that names a product, and one for its value if that has a prefix of its own."""
    text = text.replace(_NAME_BEFORE, "")
    name, value = text.split(assigned)
    prefixes = byte_prefixes(go_to_python(name + (")" if assigned == _ASSIGNED_IN_FLAG else "")))
    yield SecretRule(rule_id, go_to_python(text), prefixes, **values, names_product=True)
    alone = go_to_python("(?i)" + value.replace(_END, _END_OF_WORD))
    prefixes = byte_prefixes(alone)
    if "|" not in name + value.replace(_END, "") and (
        min(len(set(literal)) for literal in _literals(prefixes)) >= _MIN_OWN_PREFIX
    ):
        pattern = rf"(?<![0-9A-Za-z_-]){alone}"
        alone_values = {**values, "secret_group": 0, "check": "key"}
        yield SecretRule(f"{rule_id}-alone", pattern, prefixes, **alone_values)


def _literals(prefixes: Sequence[BytePrefix]) -> list[bytes]:
    """The literals that a pattern's alternatives begin with, in lower case."""
    literals = []
    for prefix in prefixes:
        letters = itertools.takewhile(
            lambda members: len(members) == 1, ({*bytes(sets).lower()} for sets in prefix.sets)
        )
        literals.append(bytes(itertools.chain.from_iterable(letters)))
    return literals


@cache
def _allowed_everywhere() -> _Allowed:
    allowed = _toml("gitleaks.toml")["allowlist"]
    patterns = [f"(?:{go_to_python(pattern)})" for pattern in allowed["regexes"]]
    return _Allowed(re.compile("|".join(patterns), re.ASCII), tuple(allowed["stopwords"]))


def _is_allowed(rule: SecretRule, secret: str) -> bool:
    """Whether gitleaks' lists say that a value is no secret."""
    return is_allowed_everywhere(secret) or any(
        re.search(pattern, secret, re.ASCII) for pattern in rule.allowed_secrets
    )


def is_allowed_everywhere(secret: str) -> bool:
    """Whether gitleaks' global lists say that a value is no secret."""
    everywhere = _allowed_everywhere()
    return everywhere.pattern.search(secret) is not None or any(
        word in secret.lower() for word in everywhere.stopwords
    )


def _is_product_secret(match: re.Match[str], group: int) -> bool:
    """Whether a product's name goes on as a secret's name, and the value looks drawn at random."""
    before = re.search(r"[\w.-]{0,50}\Z", match.string[max(0, match.start() - 50) : match.start()])
    name = (before[0] if before else "") + match.string[match.start() : match.start(group)]
    secret = match[group]
    return (
        is_product_secret(name)
        and any(map(str.isdigit, secret))
        and any(map(str.isalpha, secret))
        and alternations(secret) >= 2
    )
