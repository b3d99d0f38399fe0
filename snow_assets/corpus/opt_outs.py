"""The opt-out list: repositories whose owners do not want them in the corpus."""

import codecs
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from snow_assets.corpus.repository_names import canonical, parse_repository, patterns
from snow_assets.corpus.source_units import without_owner
from snow_assets.storage import shards

FILE = "opt_outs.txt"
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True, kw_only=True)
class OptOut:
    """A line of the list: its text, and the canonical name or `owner/*` that it means."""

    line: int  # from 1
    text: str
    name: str


def read_opt_outs(url: str) -> list[OptOut]:
    """Read the lines of a list, in order, without comments.

    Raises ValueError if the file is missing, or if a line cannot be parsed, since an ignored line
    would admit a repository that opted out.
    """
    with shards.store_errors(url):
        if not shards.exists(url):
            raise ValueError(
                f"the opt-out list {url} is missing: create it (empty is fine) or name another "
                f"one in the recipe's corpus.opt_out_list"
            )
        content = shards.get(url)
    opt_outs = []
    for number, line in enumerate(_lines(url, content), start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            opt_outs.append(OptOut(line=number, text=text, name=parse_repository(text)))
        except ValueError as error:
            raise ValueError(
                f"{url}, line {number}: {text[:200]!r} names no repository. Write one "
                f"owner/repository, owner/* or URL in each line; until then nothing is read"
            ) from error
    return opt_outs


def read_list(url: str) -> list[str]:
    """Read the distinct canonical names of a list, sorted."""
    return sorted({opt_out.name for opt_out in read_opt_outs(url)})


def _lines(url: str, content: bytes) -> Iterator[str]:
    """The lines of a file in UTF-8, or in UTF-16 with a byte order mark."""
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    try:
        yield from content.decode(encoding).splitlines()
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{url}, line {number} is not {encoding}: {content[error.start : error.start + 16]!r}. "
            f"Save the list as UTF-8"
        ) from error


def write(folder: str, opted_out: Sequence[str]) -> int:
    """Write the list as a file of an artifact; return the number of names."""
    shards.put_file(folder, FILE, "".join(f"{name}\n" for name in opted_out).encode())
    return len(opted_out)


def read(folder: str) -> frozenset[str]:
    return frozenset(shards.get_file(folder, FILE).decode().splitlines())


def is_listed(repository: str, names: Iterable[str]) -> bool:
    """Whether a list contains a repository, by its own name or by its owner's `owner/*`."""
    listed = names if isinstance(names, frozenset) else frozenset(names)
    return any(pattern in listed for pattern in patterns(canonical(repository)))


def matching_entries(
    repositories: Iterable[str], names: Collection[str], *, may_lack_owner: bool = False
) -> list[str]:
    """The names of a list that match at least one of these repositories, sorted.

    With `may_lack_owner`, `name` and `owner-name` match any listed owner's repository, as in
    ingest. Memory: the list and the result; `repositories` may be a stream.
    """
    entries: dict[str, set[str]] = {name: {name} for name in names}
    if may_lack_owner:
        for name in names:
            for short in without_owner(name):
                entries.setdefault(short, set()).add(name)
    matches: set[str] = set()
    for repository in repositories:
        for pattern in patterns(canonical(repository)):
            matches |= entries.get(pattern, set())
    return sorted(matches)
