"""Canonical names of repositories, from URLs, shorthands and names of archives.

A canonical name is a path of lower-case segments, `owner/repository` or the name of a
distribution, normalised as in PEP 503: `Foo_Bar`, `foo.bar` and `foo-bar` are the same name. Of two
repositories that differ only in this, an opt-out of either drops both: a harmless error. `owner/*`
means all repositories of an owner.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):(?://)?(?=[^/\s])", re.IGNORECASE)
_SCHEMES = {"http", "https", "git", "ssh", "git+https", "git+http", "git+ssh", "svn", "svn+ssh"}
_SHORTHANDS = {"github", "gh", "gitlab", "gl", "bitbucket", "bb", "codeberg"}  # npm's, Nix's
_SCP = re.compile(r"(?:[\w.+-]+@)?([\w-]+(?:\.[\w-]+)+):(?!\d+(?:/|$))")  # user@host:path
_AUTHORITY = re.compile(
    r"(?:[^/@]*@)?([\w.-]+)(?::\d*(?=/|$))?(?:[:/]|$)"
)  # "ssh://git@host:owner/repository" too
_FORGES = (
    "github.com",
    "gitlab.com",
    "bitbucket.org",
    "codeberg.org",
    "gitee.com",
    "sr.ht",
    "git.sr.ht",
    "gitea.com",
    "notabug.org",
    "huggingface.co",
    "pypi.org",
    "pypi.python.org",
    "npmjs.com",
    "crates.io",
    "githubusercontent.com",
    "github.io",
    "gitlab.io",
)
_PREFIXES = {  # host -> segments that stand before owner and repository
    "github.com": {"orgs", "users", "repos"},
    "gitlab.com": {"groups", "users"},
    "huggingface.co": {"datasets", "spaces"},
    "pypi.org": {"project", "p", "simple"},
    "pypi.python.org": {"project", "pypi"},
    "npmjs.com": {"package"},
    "crates.io": {"crates"},
}
_REGISTRIES = {"pypi.org", "pypi.python.org", "npmjs.com", "crates.io"}  # a name, no owner
_TWO_SEGMENTS = {"github.com", "bitbucket.org", "codeberg.org", "gitee.com", "huggingface.co"}
_VIEWS = {  # below a repository: a page of it
    "tree",
    "blob",
    "blame",
    "raw",
    "src",
    "edit",
    "commit",
    "commits",
    "issues",
    "pull",
    "pulls",
    "merge_requests",
    "wiki",
    "wikis",
    "releases",
    "tags",
    "branches",
    "actions",
    "archive",
    "browse",
    "network",
    "graphs",
    "activity",
    "discussions",
    "projects",
    "security",
    "-",
}
_SEGMENT = re.compile(r"[\w~][\w.~+-]*|\.[\w.~+-]*\w")


def canonical(repository: str) -> str:
    """The canonical name of a source's repository; an unparsable name is only lower-cased."""
    try:
        name = parse_repository(repository)
    except ValueError:
        name = repository.strip().strip("/").lower()
        return re.sub(r"[-_.]+", "-", name)
    return name.removesuffix("/*")


def parse_repository(text: str) -> str:
    """Parse a repository's URL or name to its canonical name, or `owner/*`; ValueError if none."""
    text = _strip_markup(text)
    host, path = _split_host(text)
    if host:
        path = path.partition("?")[0].partition("#")[0]
    path = unquote(path)
    segments = [part for part in path.split("/") if part]
    if host:
        segments = _without_views(_below_host(host, segments))
    elif len(segments) == 1 and (text.startswith("@") or text.endswith("/")):
        segments = [segments[0].removeprefix("@"), "*"]
    else:
        segments = _without_views(segments)
    is_owner = len(segments) > 1 and segments[-1] == "*"
    names = segments[:-1] if is_owner else segments
    if len(segments) > 1:
        names = [re.sub(r"^[~@]", "", name) for name in names]
    if names and not is_owner:
        without_revision = names[-1].partition("@")[0] if len(names) > 1 else names[-1]
        names[-1] = re.sub(r"\.git$", "", without_revision, flags=re.IGNORECASE)
    if not names or not all(_SEGMENT.fullmatch(name) for name in names):
        raise ValueError(f"{text!r} names no repository")
    joined = "/".join(re.sub(r"[-_.]+", "-", name.lower()) for name in names)
    return f"{joined}/*" if is_owner else joined


def patterns(name: str) -> Iterator[str]:
    """The list entries that match a repository: its canonical name and its owners' `owner/*`."""
    yield name
    parts = name.split("/")
    for depth in range(len(parts) - 1, 0, -1):
        yield f"{'/'.join(parts[:depth])}/*"


def _strip_markup(text: str) -> str:
    """Strip list marks, quotes, brackets, closing punctuation and invisible characters."""
    text = re.sub(r"[\u200b\u200c\u200d\u2060\ufeff]", "", text).strip()
    text = re.sub(r"^(?:[-*+•]\s+|git\s+clone\s+)", "", text)
    text = text.strip("<>\"'`").rstrip(",;.").strip("<>\"'`")
    return text.replace("\\", "/").strip()


def _split_host(text: str) -> tuple[str, str]:
    """Split into host, in lower case without `www.`, or empty, and path."""
    scheme = _SCHEME.match(text)
    if scheme and scheme[1].lower() in _SHORTHANDS:
        return f"{scheme[1].lower()}.com", text[scheme.end() :]
    if scheme and scheme[1].lower() == "pkg":  # a package URL: pkg:github/owner/name@version
        kind, _, path = text[scheme.end() :].partition("/")
        return (f"{kind.lower()}.com" if kind in _SHORTHANDS else ""), path.partition("@")[0]
    if scheme and (scheme[1].lower() in _SCHEMES or "://" in scheme[0]):
        authority = _AUTHORITY.match(text[scheme.end() :])
        if authority is None:
            return "", text
        remainder = text[scheme.end() + authority.end() :]
        return _host(authority[1]), remainder
    if text.startswith("//"):
        return _split_host(f"https:{text}")
    if scp := _SCP.match(text):
        return _host(scp[1]), text[scp.end() :]
    first, _, remainder = text.partition("/")
    host = _host(first.rpartition("@")[2].partition(":")[0])
    is_host = _is_forge(host) or (remainder.count("/") >= 1 and re.search(r"\.[a-z]{2,}$", host))
    return (host, remainder) if is_host else ("", text)


def _host(name: str) -> str:
    host = name.lower().rstrip(".")
    for prefix in ("www.", "m.", "ssh.", "altssh."):
        host = host.removeprefix(prefix)
    return host


def _is_forge(host: str) -> bool:
    return host in _FORGES or any(host.endswith(f".{forge}") for forge in _FORGES)


def _below_host(host: str, segments: list[str]) -> list[str]:
    """Owner and repository from the path of a page; a page of an owner is `[owner, "*"]`."""
    if host.endswith((".github.io", ".gitlab.io")):
        owner = host.partition(".")[0]
        return [owner, segments[0] if segments else host]
    for forge in (*_PREFIXES, *_TWO_SEGMENTS):
        if host.endswith(f".{forge}"):  # api., codeload., gist.
            host = forge
    if host.endswith("githubusercontent.com"):
        host = "github.com"
    prefix = segments[0] if segments and segments[0] in _PREFIXES.get(host, set()) else ""
    segments = segments[1:] if prefix else segments
    if prefix in ("orgs", "users", "groups"):
        return [*(segments if prefix == "groups" else segments[:1]), "*"]
    if host in _REGISTRIES:
        return segments[:2] if segments and segments[0].startswith("@") else segments[:1]
    if segments[:1] == ["scm"] or segments[:1] == ["projects"]:  # Bitbucket's own server
        segments = [part for part in segments[1:] if part != "repos"]
    if len(segments) == 1:
        return [segments[0], "*"]
    if host in _TWO_SEGMENTS or host in ("sr.ht", "git.sr.ht"):
        return segments[:2]
    return segments


def _without_views(segments: list[str]) -> list[str]:
    """The segments before the first that names a page of a repository, such as `tree`."""
    for depth in range(2, len(segments)):
        if segments[depth] in _VIEWS:
            return segments[:depth]
    return segments
