"""Detection rules of secrets with a recognizable format: gitleaks' rules and additional ones.

The rules are in `secret_data/gitleaks.toml` (MIT) and `secret_data/more_rules.toml`, in the same
schema: a regular expression, the minimum entropy of the secret, and allowlists. gitleaks' rules
that name a product (`dropbox ... = <15 letters or digits>`) apply only where the name also denotes
a secret and the value looks random; values with a distinctive prefix (`NRAK-`, `dnkey-`) are
detected without the name, too.
"""

import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from typing import Any

from snow_assets.curation.redaction.byte_prefixes import BytePrefix, byte_prefixes
from snow_assets.curation.redaction.go_regex import go_to_python
from snow_assets.curation.redaction.secret_names import is_product_secret
from snow_assets.curation.redaction.secret_prefilter import has_rare_pair
from snow_assets.curation.redaction.secret_values import (
    alternations,
    bits_per_char,
    is_basic_credentials,
    is_random_key,
    is_url_password,
)

Span = tuple[int, int]

# Parts of regular expressions from gitleaks' rule generator.
_NAME_BEFORE = r"[\w.-]{0,50}?"
_ASSIGNED = r"""(?:[ \t\w.-]{0,20})[\s'"]{0,3}(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)[\x60'"\s=]{0,5}"""
_ASSIGNED_IN_FLAG = _ASSIGNED.replace("{0,3}(", "{0,3})(", 1)
_END = r"""(?:[\x60'"\s;]|\\[nr]|$)"""
# The end of a token in prose and code: not inside a longer word or Base64.
_END_OF_WORD = r"(?![\w+/=-])"
_NOT_IN_BASE64 = r"(?<![0-9A-Za-z][+/])"
_MIN_OWN_PREFIX = 4  # distinct bytes that identify a value's format without a name

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
        """Whether matches lack a rare prefix, so that all texts with a keyword are searched."""
        return not all(has_rare_pair(prefix.sets) for prefix in self.prefixes)

    def secret_span(self, match: re.Match[str]) -> Span | None:
        """The span of the secret in a match, or None for a false positive."""
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
class _Allowlist:
    """gitleaks' global allowlist."""

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
    text = (resources.files("snow_assets.curation.redaction") / "secret_data" / name).read_text(
        "utf-8"
    )
    return tomllib.loads(text)


def _rules_of(entry: Mapping[str, Any]) -> Iterator[SecretRule]:
    """The rule of an entry, and a second one for a value with a distinctive prefix."""
    regex = str(entry["regex"])
    if f"{_END}|" in regex:  # two formats in one rule
        for part in regex.split(f"{_END}|"):
            part_regex = part if part.endswith(_END) else part + _END
            yield from _rules_of({**entry, "regex": part_regex})
        return
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
    if assigned := next((form for form in (_ASSIGNED, _ASSIGNED_IN_FLAG) if form in regex), None):
        yield from _product_rules(entry["id"], regex, assigned, values)
        return
    pattern = go_to_python(regex.replace(_END, _END_OF_WORD))
    prefixes = byte_prefixes(pattern)
    literals = _literals(prefixes)
    if "check" not in entry and any(literal.isalnum() for literal in literals):
        pattern = _NOT_IN_BASE64 + pattern
    is_weak = 1 <= min(map(len, literals)) <= 2
    yield SecretRule(entry["id"], pattern, prefixes, **values, is_weak=is_weak)


def _product_rules(
    rule_id: str, text: str, assigned: str, values: Mapping[str, Any]
) -> Iterator[SecretRule]:
    """A rule that names a product, and one for its value if that has a distinctive prefix."""
    text = text.replace(_NAME_BEFORE, "")
    name, value = text.split(assigned)
    prefixes = byte_prefixes(go_to_python(name + (")" if assigned == _ASSIGNED_IN_FLAG else "")))
    yield SecretRule(rule_id, go_to_python(text), prefixes, **values, names_product=True)
    value_pattern = go_to_python("(?i)" + value.replace(_END, _END_OF_WORD))
    prefixes = byte_prefixes(value_pattern)
    if "|" not in name + value.replace(_END, "") and (
        min(len(set(literal)) for literal in _literals(prefixes)) >= _MIN_OWN_PREFIX
    ):
        pattern = rf"(?<![0-9A-Za-z_-]){value_pattern}"
        value_fields = {**values, "secret_group": 0, "check": "key"}
        yield SecretRule(f"{rule_id}-alone", pattern, prefixes, **value_fields)


def _literals(prefixes: Sequence[BytePrefix]) -> list[bytes]:
    """The literals that a pattern's alternatives begin with, in lower case."""
    literals = []
    for prefix in prefixes:
        single_bytes = itertools.takewhile(
            lambda members: len(members) == 1, ({*bytes(sets).lower()} for sets in prefix.sets)
        )
        literals.append(bytes(itertools.chain.from_iterable(single_bytes)))
    return literals


@cache
def _global_allowlist() -> _Allowlist:
    allowed = _toml("gitleaks.toml")["allowlist"]
    patterns = [f"(?:{go_to_python(pattern)})" for pattern in allowed["regexes"]]
    return _Allowlist(re.compile("|".join(patterns), re.ASCII), tuple(allowed["stopwords"]))


def _is_allowed(rule: SecretRule, secret: str) -> bool:
    """Whether the rule's or the global allowlist contains a value."""
    return is_globally_allowed(secret) or any(
        re.search(pattern, secret, re.ASCII) for pattern in rule.allowed_secrets
    )


def is_globally_allowed(secret: str) -> bool:
    """Whether gitleaks' global allowlist or stopwords contain a value."""
    allowlist = _global_allowlist()
    return allowlist.pattern.search(secret) is not None or any(
        word in secret.lower() for word in allowlist.stopwords
    )


def _is_product_secret(match: re.Match[str], group: int) -> bool:
    """Whether a product's name continues as a secret's name, and the value looks random."""
    name_start = re.search(
        r"[\w.-]{0,50}\Z", match.string[max(0, match.start() - 50) : match.start()]
    )
    name = (name_start[0] if name_start else "") + match.string[match.start() : match.start(group)]
    secret = match[group]
    return (
        is_product_secret(name)
        and any(map(str.isdigit, secret))
        and any(map(str.isalpha, secret))
        and alternations(secret) >= 2
    )
