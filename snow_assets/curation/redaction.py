"""E-mail addresses, keys and passwords out of a text; typed placeholders in.

Layers, surest first: private-key blocks and tokens by their providers' prefixes; passwords in
URLs; strings that a telling name is assigned (`api_key = "..."`) and that look random; e-mail
addresses. Kept: addresses of reserved domains (RFC 2606, RFC 6762) and of no person (`noreply@`,
`git@`), and values that are plainly placeholders. Not looked for: names of people, IP addresses,
telephone numbers, a secret whose name does not tell and whose form no provider owns.

The expressions decide; where they are tried, one pass over the bytes says (see `secret_places`).
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.curation.columns import buffers, with_values
from snow_assets.curation.secret_places import (
    EMAIL_AT,
    KEY_NAME,
    PASSWORD_NAME,
    TOKEN,
    URL,
    Literal,
    Literals,
    secret_places,
)

EMAIL, KEY, PASSWORD = "<EMAIL>", "<KEY>", "<PASSWORD>"

_BLOCK = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----.{32,20000}?"
    r"-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    re.DOTALL,
)

# What the providers' own documentation says their tokens look like; each starts with its key here.
_TOKENS: Mapping[str, str] = {
    "AKIA": r"AKIA[0-9A-Z]{16}\b",
    "ASIA": r"ASIA[0-9A-Z]{16}\b",
    "AIza": r"AIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])",
    "AGE-SECRET-KEY-1": r"AGE-SECRET-KEY-1[0-9A-Z]{58}\b",
    "dckr_pat_": r"dckr_pat_[0-9A-Za-z_-]{20,}",
    "dop_v1_": r"dop_v1_[0-9a-f]{64}\b",
    "eyJ": r"eyJ[0-9A-Za-z_-]{10,}\.eyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}",  # JWT, RFC 7519
    "gh": r"gh[pousr]_[0-9A-Za-z]{36,}\b",
    "github_pat_": r"github_pat_[0-9A-Za-z_]{60,}\b",
    "glpat-": r"glpat-[0-9A-Za-z_-]{20,}",
    "hf_": r"hf_[A-Za-z]{34}\b",
    "npm_": r"npm_[0-9A-Za-z]{36}\b",
    "pypi-": r"pypi-AgEIcHlwaS5vcmc[0-9A-Za-z_-]{50,}",
    "_live_": r"[spr]k_live_[0-9A-Za-z]{24,}\b",
    "SG.": r"SG\.[0-9A-Za-z_-]{22}\.[0-9A-Za-z_-]{43}",
    "shp": r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b",
    "sk-": r"sk-(?:proj-|ant-|svcacct-)?[0-9A-Za-z_-]{40,}",
    "xox": r"xox[abeprs]-[0-9A-Za-z-]{20,}",
    "ya29.": r"ya29\.[0-9A-Za-z_-]{40,}",
}
_TOKEN_PATTERNS = {
    prefix: re.compile(rf"(?<![0-9A-Za-z_]){pattern}") for prefix, pattern in _TOKENS.items()
}

# What a token's matches begin with, where its key above does not tell enough.
_TOKEN_LITERALS: Mapping[str, Sequence[str]] = {
    "gh": [f"gh{kind}_" for kind in "pousr"],
    "_live_": [f"{kind}k_live_" for kind in "spr"],
    "shp": [f"shp{kind}_" for kind in ("at", "ca", "pa", "ss")],
    "xox": [f"xox{kind}-" for kind in "abeprs"],
}

_URL_PASSWORD = re.compile(r"(://[^\s/:@\"'<>]+:)([^\s/@\"'<>]{3,128})(@[\w\[])")

_ASSIGNED = r"\w*[\"']?\]?\s{0,4}(?::\s{0,4}\w+\s{0,4})?(?:=>|:=|=|:)\s{0,4}[brfu]?[\"']"
_KEY_ASSIGNED = re.compile(
    r"((?:api_?-?key|access_?-?key|auth_?-?key|secret|token|credential|private_?-?key)"
    + _ASSIGNED
    + r")([^\"'\s<>{}]{16,512})(?=[\"'])",
    re.IGNORECASE,
)
_PASSWORD_ASSIGNED = re.compile(
    r"((?:password|passwd|passphrase|\bpwd)" + _ASSIGNED + r")([^\"'\s<>{}]{8,128})(?=[\"'])",
    re.IGNORECASE,
)
_EMAIL = re.compile(
    r"(?<![\w.%+/-])([\w.%+-]{1,64})@((?:[a-zA-Z0-9-]{1,63}\.){1,8}([a-zA-Z]{2,12}))(?![\w-])",
    re.ASCII,
)

# Others are rather attributes of a matrix product (`a@b.reshape`) or files (`icon@2x.png`).
_GENERIC_DOMAINS = frozenset(
    {
        "agency", "ai", "app", "berlin", "biz", "cloud", "com", "company", "dev", "edu", "email",
        "gov", "info", "int", "io", "london", "me", "mil", "name", "net", "online", "org", "pro",
        "site", "software", "systems", "tech", "xyz",
    }
)  # fmt: skip
_RESERVED_DOMAIN = re.compile(
    r"(?:^|\.)(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost|local|internal|lan"
    r"|domain\.(?:com|tld)|email\.com|mail\.com|host\.com|foo\.(?:com|org)|bar\.(?:com|org))$",
    re.IGNORECASE,
)
_NOBODY = re.compile(
    r"(?:git|hg|svn|no-?reply|do-?not-?reply|user|username|you|me)$", re.IGNORECASE
)
_PLACEHOLDER = re.compile(
    r"example|sample|dummy|fake|change_?me|replace|your|placeholder|xxx|\*\*\*|\.\.\.|todo|none"
    r"|null|test|\$|%|password|secret|passwd",
    re.IGNORECASE,
)

# Hexadecimal has at most 4 bits a character, identifiers and words in English about 3.
_MIN_KEY_BITS = 3.2
_MIN_PASSWORD_BITS = 2.75
_NAME = re.compile(r"(?:[A-Z]+|[A-Z]?[a-z]+)(?:[A-Z][a-z]{2,})*\d{0,4}")


Judge = Callable[[re.Match[str]], str | None]
"""What to put in a match's place, or None to leave it."""


@dataclass(frozen=True)
class _Rule:
    kind: str  # what is counted
    pattern: re.Pattern[str]
    replacement: Judge


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


def redact(text: str) -> Redacted:
    """Replace secrets by placeholders; a redacted text is left as it is."""
    made = redact_column(pa.array([text], pa.string()))
    return Redacted(
        text=made.texts[0].as_py(),
        num_emails=int(made.num_emails[0]),
        num_keys=int(made.num_keys[0]),
        num_passwords=int(made.num_passwords[0]),
    )


def redact_column(texts: pa.Array) -> RedactedColumn:
    """`redact` each text of a column."""
    counts = {kind: np.zeros(len(texts), dtype=np.int64) for kind in ("email", "key", "password")}
    changed: dict[int, str] = {}
    for row, places in _places(texts):
        text, found = _redact(texts[row].as_py(), places)
        if found:
            changed[row] = text
            for kind, count in found.items():
                counts[kind][row] = count
    return RedactedColumn(
        texts=with_values(texts, changed),
        num_emails=counts["email"],
        num_keys=counts["key"],
        num_passwords=counts["password"],
    )


Places = Mapping[int, Sequence[int]]
"""Rule -> the bytes of a text at which a match may begin, rising."""


def _places(texts: pa.Array) -> Iterator[tuple[int, Places]]:
    """Each text that may hold a secret, and where."""
    found = secret_places(*buffers(texts), _literals()).tolist()
    for row, of_row in itertools.groupby(found, key=lambda place: place[0]):
        by_rule: dict[int, list[int]] = {}
        for _, rule, place in of_row:
            by_rule.setdefault(rule, []).append(place)
        yield row, by_rule


def _redact(text: str, places: Places) -> tuple[str, Counter[str]]:
    """Apply the rules in their order; each sees what the ones before it have left."""
    found: Counter[str] = Counter()
    for number, rule in enumerate(_rules()):
        if _ODD in places:
            matches: Iterable[re.Match[str]] = rule.pattern.finditer(text)
        elif number in places:
            matches = _matches(rule.pattern, text, _chars(text, places[number]))
        else:
            continue
        text, count = _replaced(text, matches, rule.replacement)
        if count:
            found[rule.kind] += count
            places = next((places for _, places in _places(pa.array([text], pa.string()))), {})
    return text, found


def _chars(text: str, places: Sequence[int]) -> Sequence[int]:
    """Bytes of a text as its characters."""
    if text.isascii():
        return places
    content = text.encode()
    pieces = [content[begin:end] for begin, end in itertools.pairwise([0, *places])]
    return list(itertools.accumulate(len(piece.decode()) for piece in pieces))


def _matches(pattern: re.Pattern[str], text: str, places: Sequence[int]) -> Iterator[re.Match[str]]:
    """What `pattern.finditer` finds, given all places where a match may begin."""
    end = 0
    for place in places:
        if place >= end and (match := pattern.match(text, place)):
            yield match
            end = match.end()


def _replaced(text: str, matches: Iterable[re.Match[str]], replacement: Judge) -> tuple[str, int]:
    pieces, end, count = [], 0, 0
    for match in matches:
        put = replacement(match)
        if put is not None:
            pieces += [text[end : match.start()], put]
            end = match.end()
            count += 1
    return "".join([*pieces, text[end:]]), count


def _value_replaced(placeholder: str, is_secret: Callable[[str], bool]) -> Judge:
    """Replace group 2 if it is a secret; what stands around it stays."""

    def replacement(match: re.Match[str]) -> str | None:
        if not is_secret(match.group(2)):
            return None
        return match.group(1) + placeholder + match.group()[match.end(2) - match.start() :]

    return replacement


def _email_replaced(match: re.Match[str]) -> str | None:
    user, domain, top = match.groups()
    if len(top) > 2 and top.lower() not in _GENERIC_DOMAINS:
        return None
    return None if _RESERVED_DOMAIN.search(domain) or _NOBODY.match(user) else EMAIL


@cache
def _rules() -> Sequence[_Rule]:
    """All rules in the order in which they are applied."""
    keys = [_BLOCK, *_TOKEN_PATTERNS.values()]
    return [
        *(_Rule("key", pattern, lambda _: KEY) for pattern in keys),
        _Rule("password", _URL_PASSWORD, _value_replaced(PASSWORD, _is_url_password)),
        _Rule("password", _PASSWORD_ASSIGNED, _value_replaced(PASSWORD, _is_password)),
        _Rule("key", _KEY_ASSIGNED, _value_replaced(KEY, _is_key)),
        _Rule("email", _EMAIL, _email_replaced),
    ]


# Characters beside ASCII that `re.IGNORECASE` takes for i, s and k: a text with one is read whole.
_ODD = -1
_ODD_CHARS = "\u0130\u0131\u017f\u212a"
_PASSWORD_NAMES = ("password", "passwd", "passphrase", "pwd")
_KEY_NAMES = (
    "secret", "token", "credential",
    *(f"{name}{dash}key" for name in ("api", "access", "auth", "private")
      for dash in ("", "_", "-", "_-")),
)  # fmt: skip


@cache
def _literals() -> Literals:
    url, password, key, email = range(len(_rules()) - 4, len(_rules()))
    tokens = [
        Literal(1 + rule, literal.encode(), TOKEN)
        for rule, name in enumerate(_TOKENS)
        for literal in _TOKEN_LITERALS.get(name, [name])
    ]
    return Literals.of(
        [
            *(Literal(_ODD, char.encode()) for char in _ODD_CHARS),
            Literal(0, b"-----BEGIN "),
            *tokens,
            Literal(url, b"://", URL),
            *(Literal(password, name.encode(), PASSWORD_NAME, True) for name in _PASSWORD_NAMES),
            *(Literal(key, name.encode(), KEY_NAME, True) for name in _KEY_NAMES),
            Literal(email, b"@", EMAIL_AT),
        ]
    )


def _bits_per_char(value: str) -> float:
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


def _kinds(value: str) -> int:
    """How many of lower case, upper case, digits and others occur."""
    return len(
        {
            "lower" if char.islower() else "upper" if char.isupper() else
            "digit" if char.isdigit() else "other"
            for char in value
        }
    )  # fmt: skip


def _is_key(value: str) -> bool:
    # Dots, slashes and spaces make names and paths; a random string has digits among its letters.
    return (
        any(char.isdigit() for char in value)
        and any(char.isalpha() for char in value)
        and re.fullmatch(r"[0-9A-Za-z_+/=.~-]+", value) is not None
        and not re.fullmatch(r"(?:[A-Za-z]+|\d{1,4})(?:[._/-](?:[A-Za-z]+|\d{1,4}))*", value)
        and not _PLACEHOLDER.search(value)
        and _bits_per_char(value) >= _MIN_KEY_BITS
    )


def _is_password(value: str) -> bool:
    return (
        ((_kinds(value) >= 3 and any(char.isdigit() for char in value)) or _is_drawn(value))
        and re.search(r"[()\[\]]|::|/\w+/", value) is None  # code or a path
        and not _PLACEHOLDER.search(value)
        and _bits_per_char(value) >= _MIN_PASSWORD_BITS
    )


def _is_drawn(value: str) -> bool:
    """Whether letters and digits stand as dice put them, and not as words and a number do."""
    return (
        len(value) >= 10 and value.isalnum() and _kinds(value) >= 2 and not _NAME.fullmatch(value)
    )


def _is_url_password(value: str) -> bool:
    return (
        not _PLACEHOLDER.search(value)
        and (len(value) >= 10 or _kinds(value) >= 2)  # `user:pass@host` is an example
        and re.search(r"[{}()]", value) is None
        and not value.isdigit()
    )
