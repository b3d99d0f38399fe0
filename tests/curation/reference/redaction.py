"""E-mail addresses, keys and passwords out of a text; typed placeholders in.

Layers, surest first: private-key blocks and tokens by their providers' prefixes; passwords in
URLs; strings that a telling name is assigned (`api_key = "..."`) and that look random; e-mail
addresses. Kept: addresses of reserved domains (RFC 2606, RFC 6762) and of no person (`noreply@`,
`git@`), and values that are plainly placeholders. Not looked for: names of people, IP addresses,
telephone numbers, a secret whose name does not tell and whose form no provider owns.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True)
class Redacted:
    """A text without secrets, and how many of each type it held."""

    text: str
    num_emails: int
    num_keys: int
    num_passwords: int


def redact(text: str) -> Redacted:
    """Replace secrets by placeholders; a redacted text is left as it is."""
    num_keys = num_passwords = num_emails = 0
    if "PRIVATE KEY" in text:
        text, num_keys = _BLOCK.subn(KEY, text)
    for prefix, pattern in _TOKEN_PATTERNS.items():
        if prefix in text:
            text, found = pattern.subn(KEY, text)
            num_keys += found
    if "@" in text:
        text, num_passwords = _replace(_URL_PASSWORD, text, PASSWORD, _is_url_password)
    text, found = _replace(_PASSWORD_ASSIGNED, text, PASSWORD, _is_password)
    num_passwords += found
    text, found = _replace(_KEY_ASSIGNED, text, KEY, _is_key)
    num_keys += found
    if "@" in text:
        text, num_emails = _redact_emails(text)
    return Redacted(
        text=text, num_emails=num_emails, num_keys=num_keys, num_passwords=num_passwords
    )


def _replace(
    pattern: re.Pattern[str], text: str, placeholder: str, is_secret: Callable[[str], bool]
) -> tuple[str, int]:
    """Replace group 2 of each match that is a secret; groups 1 and 3 stay."""
    found = 0

    def replacement(match: re.Match[str]) -> str:
        nonlocal found
        if not is_secret(match.group(2)):
            return match.group()
        found += 1
        return match.group(1) + placeholder + match.group()[match.end(2) - match.start() :]

    return pattern.sub(replacement, text), found


def _redact_emails(text: str) -> tuple[str, int]:
    found = 0

    def replacement(match: re.Match[str]) -> str:
        nonlocal found
        user, domain, top = match.groups()
        if len(top) > 2 and top.lower() not in _GENERIC_DOMAINS:
            return match.group()
        if _RESERVED_DOMAIN.search(domain) or _NOBODY.match(user):
            return match.group()
        found += 1
        return EMAIL

    return _EMAIL.sub(replacement, text), found


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
        _kinds(value) >= 3
        and any(char.isdigit() for char in value)
        and re.search(r"[()\[\]]|::|/\w+/", value) is None  # code or a path
        and not _PLACEHOLDER.search(value)
        and _bits_per_char(value) >= _MIN_PASSWORD_BITS
    )


def _is_url_password(value: str) -> bool:
    return (
        not _PLACEHOLDER.search(value)
        and (len(value) >= 10 or _kinds(value) >= 2)  # `user:pass@host` is an example
        and re.search(r"[{}()]", value) is None
        and not value.isdigit()
    )
