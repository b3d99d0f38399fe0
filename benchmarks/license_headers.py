"""Measure which header grants of licences that do not permit are missed, on 2,000 labelled headers.

Run from the checkout: `python benchmarks/license_headers.py [FOLDER ...]`. A header is the first
4,096 bytes of a source file. `license_headers.tsv` names each by its sha256, its package and its
path there; the texts themselves are not kept here, since many are not ours to copy. The files are
looked for below the folders (by default: the environments' site-packages, /usr/include, /usr/lib
and /usr/share); those of packages that are not installed can be had with `apt-get download NAME`
and `dpkg -x`, or `pip download NAME` and `unzip`.

The sample: of 131,146 distinct headers in 166,895 source files of a Debian 12 machine, its Python
environments, npm, 82 more Debian packages and eight wheels, ordered by hash, 950 that mention a
copyleft licence or a name like one, 250 with proprietary wording, 500 with other licence wording
and 300 with none; at most 40, 15, 20 and 10 of one package, and one of the same wording.

The labels do not come from this project: scancode-toolkit 32.5.0 (exact matching of its 35,000
rules, in an environment of its own) names the licences, and its categories decide: any that is not
permissive, and not one of several alternatives, is `drop`. Where it and the product disagreed, a
person read the header: those rows say `read` and why. `keep`: a permissive licence, or none.
"""

import csv
import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from snow_assets.corpus.license_headers import HEADER_BYTES, stated_in_header  # noqa: E402
from snow_assets.corpus.license_statements import Statement  # noqa: E402
from snow_assets.corpus.licenses import decide  # noqa: E402
from snow_assets.recipe import PERMISSIVE_LICENSES  # noqa: E402

LABELS = Path(__file__).with_suffix(".tsv")
FOLDERS = (
    *(path for path in sys.path if path.endswith("site-packages")),
    "/usr/include",
    "/usr/lib",
    "/usr/share",
)
MAX_MISSED = 5


def labels() -> dict[str, dict[str, str]]:
    """The rows of `license_headers.tsv` by the header's sha256."""
    with LABELS.open(newline="") as file:
        return {row["sha256"]: row for row in csv.DictReader(file, delimiter="\t")}


def headers(folders: list[str], rows: dict[str, dict[str, str]]) -> Iterator[tuple[str, bytes]]:
    """Digest and bytes of each labelled header below the folders, each once."""
    names = {Path(row["path"]).name for row in rows.values()}
    digests: set[str] = set()
    for folder in folders:
        for path in Path(folder).rglob("*"):
            if path.name not in names or path.is_symlink() or not path.is_file():
                continue
            with path.open("rb") as file:
                header = file.read(HEADER_BYTES)
            digest = hashlib.sha256(header).hexdigest()
            if digest in rows and digest not in digests:
                digests.add(digest)
                yield digest, header


def main() -> None:
    rows = labels()
    sample = list(headers(sys.argv[1:] or list(FOLDERS), rows))
    missed, lost, num_drops = [], [], 0
    for digest, header in sample:
        row = rows[digest]
        decision = decide(header, Statement("MIT", "LICENSE"), permissive=PERMISSIVE_LICENSES)
        num_drops += row["expected"] == "drop"
        if row["expected"] == "drop" and decision.license is not None:
            missed.append(row)
        if row["expected"] == "keep" and decision.license is None:
            lost.append((row, decision.evidence))
    begin = time.process_time()
    for _ in range(20):
        for _, header in sample:
            stated_in_header(header)
    seconds = time.process_time() - begin
    megabytes = 20 * sum(len(header) for _, header in sample) / 1e6
    print(f"{len(sample)} of {len(rows)} labelled headers are on this machine")
    print(f"{num_drops} grants that do not permit: {len(missed)} missed (goal: {MAX_MISSED})")
    for row in missed:
        print(f"  {row['origin']}: {row['path']} ({row['licences']})")
    print(f"{len(sample) - num_drops} permissive headers or none: {len(lost)} lost (goal: 0)")
    for row, evidence in lost:
        print(f"  {row['origin']}: {row['path']} ({row['licences']}): {evidence}")
    print(f"{megabytes / seconds:.1f} MB of headers per CPU second")
    if len(missed) > MAX_MISSED or lost:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
