"""Detect e-mail addresses, and reject matrix products, labels, file names and units like them.

Domains end in a top-level domain of IANA's root zone, as ASCII or in its own script. Not redacted:
reserved domains (RFC 2606, RFC 6762) and impersonal addresses (`noreply@`, `git@`).
"""

import re
from functools import cache
from importlib import resources

Span = tuple[int, int]

# Non-ASCII letters: of Latin, Greek and Cyrillic; of all scripts.
_LETTERS = "\u00c0-\u024f\u0370-\u052f"
_ALL_LETTERS = "\u00b7-\u1fff\u2c00-\u2dff\u3005-\ud7ff\uf900-\ufdff\U00010000-\U0003ffff"
_USER = rf"(?:[A-Za-z0-9_.%+{_LETTERS}-]{{1,64}}|(?<![\u3005-\ud7ff])[\u3005-\ud7ff]{{1,32}})"
_LABEL = rf"[A-Za-z0-9{_ALL_LETTERS}-]{{1,63}}"
EMAIL = re.compile(
    rf"(?<![A-Za-z0-9_.%+/{_LETTERS}-])({_USER})\\?@((?:{_LABEL}\.){{1,8}}"
    rf"((?:xn--[A-Za-z0-9-]{{1,59}}|[A-Za-z]{{2,24}})(?![\w-])|[{_ALL_LETTERS}]{{1,24}}))",
    re.ASCII,
)

_RESERVED_DOMAIN = re.compile(
    r"^(?:openssh\.com|libssh\.org)$"  # names of SSH's algorithms: `aes256-gcm@openssh.com`
    r"|(?:^|\.)(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost|local|internal|lan"
    r"|domain\.(?:com|tld)|email\.com|mail\.com|host\.com|foo\.(?:com|org)|bar\.(?:com|org))$",
    re.IGNORECASE,
)
_IMPERSONAL_USERS = re.compile(
    r"(?:git|hg|svn|no-?reply|do-?not-?reply|user|username|you|me)$", re.IGNORECASE
)
_URL_USER = re.compile(r"://[^\s/@]*:\Z")  # followed by a password
# Escapes of string literals, roff and terminals that end in letters or digits before an address.
_ESCAPE = re.compile(
    r"(?:\\(f[BIRP]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[0-7]{3}|[abfnrtv0])|[\[;](\d{1,3}m))(?=[\w.%+-])",
    re.ASCII,
)
# Paths of code hosts: `go get x@github.com/acme/y`, options of serialized protocol buffers.
_CODE_HOST = re.compile(r"(?:^|\.)(?:github\.com|gitlab\.com|bitbucket\.org|golang\.org|k8s\.io)$")
# Qualified names of Kotlin and labels of Swift and Kotlin.
_OBJECTS = frozenset({"self", "this", "cls", "np", "jnp", "torch", "tf"})
_CLASSIC_DOMAINS = frozenset({"com", "net", "org", "edu", "gov", "mil", "int", "biz"})
_KEYWORDS = frozenset({"this", "super", "return", "break", "continue", "self"})
# File extensions, units and attributes that are also top-level domains.
_FILE_EXTENSIONS = frozenset(
    {"target", "zip", "mov", "java", "py", "rs", "sh", "ps", "so", "data", "dot"}
)
_ATTRIBUTES = frozenset(
    """
    at call case cat data date do dot fit id in info int is it link map name next no now
    open page read run save search select size so store stream style to top watch
    """.split()  # noqa: SIM905
)

_USER_BEFORE_AT = re.compile(rf"(?<![A-Za-z0-9_.%+/{_LETTERS}-]){_USER}\\?\Z", re.ASCII)
_MAX_USER_CHARS = 64


def email_match(text: str, at: int) -> re.Match[str] | None:
    """The match of `EMAIL` around the `@` at offset `at`."""
    start = max(0, at - _MAX_USER_CHARS - 2)
    user = _USER_BEFORE_AT.search(text[start:at])
    return EMAIL.match(text, start + user.start()) if user else None


@cache
def top_level_domains() -> frozenset[str]:
    """Top-level domains in lower case; internationalized ones in Punycode and in Unicode."""
    folder = resources.files("snow_assets.curation.redaction") / "secret_data"
    lines = (folder / "top_level_domains.txt").read_text("utf-8").lower().split("\n")
    domains = {line for line in lines if line and not line.startswith("#")}
    in_script = {name[4:].encode().decode("punycode") for name in domains if name[:4] == "xn--"}
    return frozenset(domains | in_script)


def email_span(match: re.Match[str]) -> Span | None:
    """The span of the address in a match of `EMAIL`, or None for a false positive."""
    user, domain = match[1], match[2]
    top = match[3]
    end = match.end()
    if top.lower() not in top_level_domains():
        return None
    start = match.start()
    if escape := _ESCAPE.match(match.string, start - 1) if start else None:
        start = escape.end()
    user = match.string[start : match.end(1)].lstrip(".")
    if not user or _RESERVED_DOMAIN.search(domain) or _IMPERSONAL_USERS.match(user):
        return None
    is_path = _CODE_HOST.search(domain) is not None and match.string[end : end + 1] == "/"
    return (match.end(1) - len(user), end) if _is_address(match) and not is_path else None


def _is_address(match: re.Match[str]) -> bool:
    """Whether case and context are those of an address and not of code."""
    user, domain, top = match[1], match[2], match[3]
    labels = domain.split(".")
    text, start, end = match.string, match.start(), match.end()
    next_char = text[end : end + 1]
    is_enclosed = text[start - 1 : start] == "<" or text[max(0, start - 7) : start] == "mailto:"
    if user in _KEYWORDS or user.endswith((".this", ".super")) or user.startswith("self."):
        return False
    if (labels[0] in _OBJECTS and not is_enclosed) or user.startswith("-"):
        return False
    is_usual_case = top.islower() or domain.isupper() or top.lower() in _CLASSIC_DOMAINS
    if top.isascii() and not is_usual_case and not is_enclosed:
        return False
    is_type = any(label[:1].isupper() and not label.isupper() for label in labels[:-1])
    if is_type and len(top) > 2 and top.lower() not in _CLASSIC_DOMAINS and not is_enclosed:
        return False
    if next_char and next_char in "([=" and text[start - 1 : start] not in ("<", '"', "'"):
        return False
    if re.fullmatch(r"\d+x", labels[-2]) or top.lower() in _FILE_EXTENSIONS:
        return False
    if top.lower() in _ATTRIBUTES and len(labels) == 2:
        return is_enclosed
    return _URL_USER.search(text[max(0, start - 80) : start]) is None
