"""Heuristics that tell random keys and passwords from words and code."""

import base64
import binascii
import math
import re
from collections import Counter

# Hexadecimal has at most 4 bits per character, identifiers and English words about 3.
_MIN_KEY_BITS = 3.2
_MIN_PASSWORD_BITS = 2.75
_MIN_PUNCTUATED_KEY_CHARS = 32

_PLACEHOLDER = re.compile(
    r"example|sample|dummy|fake|change_?me|replace|your|placeholder|(?-i:xxx|XXX)|\*\*\*|\.\.\.|todo|none"
    r"|null|test|\$|%|password|secret|passwd|123456|abcdef|qwerty|deadbeef|foobar|00000",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"\$\{|\$\(|\$\w{3,}|%[sdr(]|%\w+%|\{\{|^\w+\(")
_KEY_CHARS = re.compile(r"(?:base64:)?[0-9A-Za-z_+/=.~-]+")
# A word, a number or a version as parts of names: `gemma`, `9b`, `v1`, `64k`, `2024`.
_WORD_PART = r"(?:[A-Za-z]{1,24}\d{0,4}|\d{1,8}[A-Za-z]{0,3}|[vV]\d[\da-z]{0,3})"
_WORDS = re.compile(rf"[._/:~-]*{_WORD_PART}(?:[._/:~-]+{_WORD_PART})*[._/:~=-]*")
# Words in camel case with numbers between: `Uint8Array`, `getPasswordFor2`, `HTTPServer`.
_CAMEL = re.compile(r"_*(?:(?:[A-Z]\d{1,2}|[A-Z]{2,8}|[A-Z]?[a-z]{2,16})\d{0,4}_*){1,8}[A-Z]?")
# Catalogue names have parts that are neither: `LicenseRef-scancode-x11-x11r5`, `w3c-03-docs`.
_CATALOGUE_WORD = re.compile(
    r"[A-Z]?[a-z]{2,24}(?:[A-Z][a-z]+)?|[a-z]{3,}\d[a-z]?|[A-Z]{2,5}|\d{1,8}"
)
_MAX_CODE_CHARS, _MAX_CODE_RUNS = 9, 6  # d3d120n7
_CODE = re.compile(r"[()\[\]]|::|/\w+/|^[\w.]+\.\w+$|->")
_DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
_RUNS = re.compile(r"[A-Za-z]+|\d+")


def bits_per_char(value: str) -> float:
    """Shannon entropy of the value's characters, in bits."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


def character_kinds(value: str) -> int:
    """The number of character kinds: lower case, upper case, digits, others."""
    kinds = (str.islower, str.isupper, str.isdigit)
    is_other = any(not any(kind(char) for kind in kinds) for char in value)
    return sum(any(map(kind, value)) for kind in kinds) + is_other


def alternations(value: str) -> int:
    """The number of alternations of letters and digits; words with a number have one or two."""
    return len(_RUNS.findall(value)) - len(re.findall(r"[^A-Za-z0-9]+", value.strip("=._-"))) - 1


def is_placeholder(value: str) -> bool:
    """Whether a value is an example or a variable reference."""
    return _PLACEHOLDER.search(value) is not None


def is_random_key(value: str) -> bool:
    """Whether a value looks like a key: digits among letters, no words, enough entropy."""
    if re.search(r"[0-9]", value) is None or re.search(r"[A-Za-z]", value) is None:
        return False
    if _KEY_CHARS.fullmatch(value) is None:
        return _is_punctuated_key(value)
    return (
        _WORDS.fullmatch(value) is None
        and _CAMEL.fullmatch(value) is None
        and not _is_catalogue_name(value)
        and not is_placeholder(value)
        and bits_per_char(value) >= _MIN_KEY_BITS
    )


def _is_catalogue_name(value: str) -> bool:
    """Whether words and numbers make up half of a value, and its other parts are short."""
    parts = re.findall(r"[^._/:~-]+", value)
    words = [part for part in parts if _CATALOGUE_WORD.fullmatch(part)]
    codes = [part for part in parts if not _CATALOGUE_WORD.fullmatch(part)]
    return (
        len(parts) >= 2
        and any(re.search(r"[a-z]{3}", part) for part in words)
        and sum(map(len, words)) >= sum(map(len, codes))
        and all(
            len(part) <= _MAX_CODE_CHARS and len(_RUNS.findall(part)) <= _MAX_CODE_RUNS
            for part in codes
        )
    )


def _is_punctuated_key(value: str) -> bool:
    """Whether a value looks like a framework's key with arbitrary punctuation (Django)."""
    return (
        len(value) >= _MIN_PUNCTUATED_KEY_CHARS
        and character_kinds(value) >= 3
        and _VARIABLE.search(value) is None
        and "://" not in value
        and bits_per_char(value) >= 4.0
        and max(map(len, re.findall(r"[A-Za-z]+", value))) <= 12
    )


def is_random_password(value: str) -> bool:
    """Whether a quoted value looks like a password: three character kinds, or no words."""
    return bool(
        ((character_kinds(value) >= 3 and re.search(r"[0-9]", value)) or _looks_random(value))
        and _CODE.search(value) is None
        and not is_placeholder(value)
        and bits_per_char(value) >= _MIN_PASSWORD_BITS
    )


def is_unquoted_password(value: str, *, is_environment_variable: bool) -> bool:
    """`is_random_password` for an unquoted value, which may be a name: digits must alternate."""
    has_punctuation = re.search(r"[!@#%^*]", value[1:]) is not None  # not in identifiers
    min_alternations = 2 if is_environment_variable or has_punctuation else 3
    return (
        is_random_password(value)
        and _CAMEL.fullmatch(value) is None
        and _WORDS.fullmatch(value) is None
        and _DOTTED_NAME.fullmatch(value) is None
        and alternations(value) >= min_alternations
    )


def is_unquoted_key(value: str) -> bool:
    """Whether an unquoted value is a key and neither a number nor an identifier."""
    return (
        is_random_key(value)
        and _DOTTED_NAME.fullmatch(value) is None
        and re.match(r"0[xXbBoO]", value) is None
        and alternations(value) >= 3
    )


def _looks_random(value: str) -> bool:
    """Whether letters and digits are in random order, unlike words followed by a number."""
    is_words = re.fullmatch(r"(?:[A-Z]+|[A-Z]?[a-z]+)(?:[A-Z][a-z]{2,})*\d{0,4}", value)
    return (
        len(value) >= 10
        and value.isascii()
        and value.isalnum()
        and character_kinds(value) >= 2
        and is_words is None
    )


def is_url_password(value: str) -> bool:
    """Whether the text between `user:` and `@` is a password, not an example or a variable."""
    return (
        not is_placeholder(value)
        and (len(value) >= 10 or character_kinds(value) >= 2)  # `user:pass@host` is an example
        and re.search(r"[{}()<>\[\]]", value) is None
        and re.search(r"anon(?:cvs|ymous)|^guest", value, re.IGNORECASE) is None
        and not value.isdigit()
    )


def is_basic_credentials(value: str) -> bool:
    """Whether Base64 of `Authorization: Basic` encodes a user and a password (RFC 7617)."""
    try:
        user, colon, password = (
            base64.b64decode(value, validate=True).decode("ascii").partition(":")
        )
    except (binascii.Error, UnicodeDecodeError):
        return False
    return bool(user and colon) and password.isprintable() and is_url_password(password)
