"""Detect values assigned to secret-like names: `api_key = "..."`, `export TOKEN=...`.

Syntaxes: quoted in code and JSON; unquoted in YAML, .properties, .env, INI, shell and connection
strings; PHP's constants, calls (`define('KEY', '...')`, `setPassword("...")`), XML elements, pairs
of name and value (`name="password" value="..."`, also in YAML and JSON), Dockerfile's ENV, options
of commands, .netrc.
"""

import re

from snow_assets.curation.redaction.secret_names import SecretKind, secret_kind
from snow_assets.curation.redaction.secret_values import (
    bits_per_char,
    is_placeholder,
    is_random_key,
    is_random_password,
    is_unquoted_key,
    is_unquoted_password,
)

Span = tuple[int, int]

# Each match begins with one of these parts of a name.
NAME_PARTS = ("pass", "pwd", "secret", "token", "credential", "key", "salt", "_auth")
_NAME_CHARS = r"[\w$.-]"
_MAX_NAME_CHARS = 64

ASSIGNED = re.compile(
    rf"(?i:{'|'.join(NAME_PARTS)})[\w.-]{{0,40}}"
    r"(\\?[\"'`])?[\])]?"  # 1: the name's quote
    r"(?:,?\s{1,20}[\"']?value[\"']?(?=\s{0,2}[:=]))?\s{0,4}"  # name="TOKEN" value="..."
    r"(?::\s{0,3}[A-Za-z_][\w.\[\]| ]{0,30}\s{0,3}(?==))?"  # a type annotation
    r"(=>|:=|\?=|={1,3}|!={1,2}|:|,|>|\(|(?<=[\w])[ \t])\s{0,4}"  # 2: the operator
    r"(?:[bBrRfFuU@$]{1,2}(?=\\?[\"'`]))?"  # the prefix of a literal
    r"(?:(\\?[\"'`])((?:(?!\3)[^\s<>\\]|\\(?!\3)[^\s]){8,512})(?=\3)"  # 3, 4: quote, value
    r"|([^\s\"'`<>{}(),;&\[\]]{8,512})(?=[\s\"'`<,;&\\]|\Z))",  # 5: an unquoted value
    re.ASCII,
)
WORDPRESS_KEY = re.compile(
    r"define\(\s{0,3}['\"](?:SECURE_AUTH|AUTH|LOGGED_IN|NONCE)_(?:KEY|SALT)['\"]\s{0,40},\s{0,3}"
    r"(['\"])((?:(?!\1)[^\n]){40,128})\1\s{0,3}\)",
    re.ASCII,
)
_BEFORE_SPACE = re.compile(
    r"(?:^|[\s\"';])(?:(?:ENV|ARG|setenv|export|set)[ \t]+|--?)[\w$.-]*\Z"
    r"|\blogin\s{1,4}\S{1,64}\s{1,4}\Z",
    re.ASCII,
)
_MIN_KEY_CHARS = 16


def assigned_secret(match: re.Match[str]) -> tuple[SecretKind, Span] | None:
    """The kind and the span of the secret in a match of `ASSIGNED`, or None."""
    text, start = match.string, match.start()
    prefix = re.search(rf"{_NAME_CHARS}*\Z", text[max(0, start - _MAX_NAME_CHARS) : start])
    name_start = start - len(prefix[0]) if prefix else start
    name_match = re.compile(r"[\w$.-]+").match(text, name_start)
    name = name_match[0].strip(".-$") if name_match else ""
    kind = secret_kind(name)
    if kind is None or not _is_operator(match, name_start):
        return None
    group = 4 if match[3] else 5
    value = match[group]
    if group == 4:
        is_secret = _is_quoted_secret(kind, value)
    else:
        is_secret = _is_unquoted_secret(kind, value, match, name, name_start)
    return (kind, match.span(group)) if is_secret else None


def is_wordpress_key(value: str) -> bool:
    """Whether a value of WordPress' eight constants looks random, unlike `put your phrase here`."""
    return bits_per_char(value) >= 4.0 and re.search(r"[0-9]", value) is not None


def _is_operator(match: re.Match[str], name_start: int) -> bool:
    """Whether the text between name and value is an assignment in the surrounding syntax."""
    operator, quote = match[2], match[1]
    if operator == ",":  # define('NAME', 'value'), setdefault("NAME", "value")
        return quote is not None and match[3] is not None
    if operator == "(":  # setPassword("value")
        is_call = not match.string[match.start(2) - 1].isspace() and match.start() > name_start
        return is_call and match[3] is not None and "`" not in match[3]
    if operator == ">":  # <password>value</password>
        opens = match.string[max(0, name_start - 1) : name_start] == "<"
        return opens and match.string[match.end() : match.end() + 2] == "</"
    if operator.isspace():  # ENV NAME value, setenv NAME value, --token value
        line = match.string[max(0, name_start - 80) : match.start()]
        return quote is None and _BEFORE_SPACE.search(line) is not None
    return True


def _is_quoted_secret(kind: SecretKind, value: str) -> bool:
    if kind == "password":
        return len(value) <= 128 and (is_random_password(value) or _is_long_key(value))
    return _is_long_key(value)


def _is_long_key(value: str) -> bool:
    return len(value) >= _MIN_KEY_CHARS and is_random_key(value)


def _is_unquoted_secret(
    kind: SecretKind, value: str, match: re.Match[str], name: str, name_start: int
) -> bool:
    if is_placeholder(value):
        return False
    if len(value) >= _MIN_KEY_CHARS and is_unquoted_key(value):
        return True
    is_environment = name.isupper() and match[2] == "="
    return (
        kind == "password"
        and len(value) <= 64
        and match[2] != "=="
        and is_unquoted_password(value, is_environment_variable=is_environment)
        and match.string[name_start : name_start + 1] != "$"
    )
