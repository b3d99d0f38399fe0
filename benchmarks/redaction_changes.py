"""What redaction changes in installed files: all changes, a sample to read, and syntax checks.

`python benchmarks/redaction_changes.py OUT [--files N] [--sample N] [--seed TEXT] [FOLDER ...]`.

Takes N files (50,000) of the folders (by default this Python's packages, `/usr/lib/python3*`,
`/usr/share`, and npm's packages) in the order of a hash of their paths: UTF-8 texts of at most
1 MiB, each content once. Writes to OUT: `changes.jsonl`, a line per change (path, line, rule, kind,
the secret and what stands around), and `sample.jsonl`, N changes (500) in the order of a hash of
the seed, path and place. Prints counts by rule, Python files whose redacted text no longer parses
though the text did, and texts that a second redaction changes. Both must be 0.
"""

import argparse
import ast
import hashlib
import json
import sysconfig
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa

CHECKOUT = Path(__file__).resolve().parent.parent

MAX_BYTES = 1 << 20
TEXTS_AT_ONCE = 500
CONTEXT_CHARS = 60


@dataclass(frozen=True)
class Change:
    """A secret that is replaced, with what stands around it."""

    path: str
    line: int
    rule: str
    kind: str
    secret: str
    before: str
    after: str
    start: int


def default_folders() -> list[Path]:
    usr = Path("/usr")
    folders = [Path(sysconfig.get_paths()["purelib"]), *usr.glob("lib/python3*"), usr / "share"]
    folders += [usr / "lib/node_modules", usr / "local/lib/node_modules", usr / "include"]
    return [folder for folder in folders if folder.is_dir()]


def hashed(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def installed_texts(folders: Sequence[Path], num_files: int) -> Iterator[tuple[str, str]]:
    """Path and text of files in the order of their paths' hashes, each content once."""
    paths = [
        str(path)
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix not in {".pyc", ".so", ".gz", ".png", ".mo", ".ttf"}
        and path.is_file()
        and not path.is_symlink()
        and path.stat().st_size <= MAX_BYTES
    ]
    contents: set[bytes] = set()
    for path in sorted(set(paths), key=hashed):
        content = Path(path).read_bytes()
        digest = hashlib.sha256(content).digest()
        if not content or digest in contents or b"\0" in content:
            continue
        contents.add(digest)
        try:
            yield path, content.decode("utf-8")
        except UnicodeDecodeError:
            continue
        num_files -= 1
        if not num_files:
            return


def changes_of(path: str, text: str, secrets: Sequence["Secret"]) -> list[Change]:
    changes = []
    for secret in secrets:
        start, end = secret.spans[0][0], secret.spans[-1][1]
        changes.append(
            Change(
                path=path,
                line=text.count("\n", 0, start) + 1,
                rule=secret.rule,
                kind=secret.kind,
                secret=text[start:end],
                before=text[max(0, start - CONTEXT_CHARS) : start],
                after=text[end : end + CONTEXT_CHARS],
                start=start,
            )
        )
    return changes


def parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--sample", type=int, default=500)
    parser.add_argument("--seed", default="")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    changes: list[Change] = []
    counts: Counter[str] = Counter()
    unparsable, unstable = [], []
    seconds = 0.0
    batch: list[tuple[str, str]] = []

    def read_batch() -> None:
        nonlocal seconds
        texts = pa.array([text for _, text in batch], pa.string())
        begin = time.process_time()
        column = redact_column(texts)
        seconds += time.process_time() - begin
        again = redact_column(column.texts).texts
        for row, places in candidates_by_row(texts):
            path, text = batch[row]
            secrets = find_secrets(text, places)
            if not secrets:
                continue
            redacted = column.texts[row].as_py()
            changes.extend(changes_of(path, text, secrets))
            counts["files changed"] += 1
            if again[row].as_py() != redacted:
                unstable.append(path)
            if path.endswith((".py", ".pyi")) and parses(text):
                counts["changed Python files that parse"] += 1
                if not parses(redacted):
                    unparsable.append(path)
        batch.clear()

    for path, text in installed_texts(arguments.folders or default_folders(), arguments.files):
        counts["files"] += 1
        counts["bytes"] += len(text.encode())
        batch.append((path, text))
        if len(batch) == TEXTS_AT_ONCE:
            read_batch()
    read_batch()
    write(arguments.out / "changes.jsonl", changes)
    by_hash = sorted(changes, key=lambda one: hashed(f"{arguments.seed}{one.path}:{one.start}"))
    write(arguments.out / "sample.jsonl", by_hash[: arguments.sample])
    for name, count in counts.items():
        print(f"{name}: {count:,}")
    print(f"changes: {len(changes):,}; {seconds:.1f} CPU s of redaction")
    for (kind, rule), count in Counter((one.kind, one.rule) for one in changes).most_common():
        print(f"  {kind:8} {rule:40} {count:,}")
    print(f"no longer parse: {len(unparsable)} {unparsable[:5]}")
    print(f"changed by a second redaction: {len(unstable)} {unstable[:5]}")


def write(path: Path, changes: Sequence[Change]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(asdict(change), ensure_ascii=False) for change in changes)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="replace")


if __name__ == "__main__":
    import sys

    sys.path.insert(0, str(CHECKOUT))
    from snow_assets.curation.redaction.redact import (
        Secret,
        candidates_by_row,
        find_secrets,
        redact_column,
    )

    main()
