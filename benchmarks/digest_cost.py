"""What comparing digests costs: `.venv/bin/python benchmarks/digest_cost.py LAKE [ROUNDS]`.

Reads every shard of the lake's finished artifacts, whole and a column of each, and prepares and
signs its raw code again, with and without the comparison, in turns. Prints the median of the
rounds' seconds.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from snow_assets.curation.dedup.signatures import put_signatures
from snow_assets.curation.prepare import prepare
from snow_assets.planning.opt_out_traces import finished
from snow_assets.recipe import SMOKE
from snow_assets.storage import column_ranges, shards

_TABLES = ("raw_code_corpus", "documents", "signatures", "quality_scores", "clean_corpus")


@contextmanager
def comparison(is_on: bool) -> Iterator[None]:
    """Reads compare digests, or take the bytes as they are. Writing computes digests either way."""
    original = shards.get_file, column_ranges._compare
    if not is_on:
        shards.get_file = lambda folder, name: shards.get(shards.join(folder, name))
        column_ranges._compare = lambda *_: None
    try:
        yield
    finally:
        shards.get_file, column_ranges._compare = original


def read_all(lake: str, columns: Sequence[str] | None = None) -> int:
    """Read every shard; returns the bytes of the files."""
    num_bytes = 0
    for asset in _TABLES:
        for folder in finished(lake, asset):
            for entry in shards.manifest(folder).files:
                if entry.num_rows is not None:
                    shards.read_shard(folder, entry.name, columns=columns)
                    num_bytes += entry.num_bytes
    return num_bytes


def curate(lake: str) -> None:
    """Prepare every source: reads the raw shards, writes documents."""
    languages = SMOKE.curation.languages
    for folder in finished(lake, "raw_code_corpus"):
        with tempfile.TemporaryDirectory() as scratch:
            documents = f"{scratch}/documents/source/0"
            prepare(folder, documents, languages=languages, with_parses=False)


def sign(lake: str) -> None:
    for folder in finished(lake, "documents"):
        with tempfile.TemporaryDirectory() as scratch:
            target = f"{scratch}/signatures/source/0"
            put_signatures(folder, target, recipe=SMOKE.curation.near_duplicates)


def compare(name: str, work: Callable[[], object], rounds: int) -> None:
    seconds: dict[bool, list[float]] = {True: [], False: []}
    work()  # caches and compiled kernels are warm
    for _ in range(rounds):
        for is_on in (True, False):
            started = time.process_time()
            with comparison(is_on):
                work()
            seconds[is_on].append(time.process_time() - started)
    with_, without = statistics.median(seconds[True]), statistics.median(seconds[False])
    share = with_ / without - 1
    sys.stdout.write(f"{name}: {without:.3f} CPU s without, {with_:.3f} s with, {share:+.1%}\n")


def main() -> None:
    lake = str(Path(sys.argv[1]).resolve())
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    sys.stdout.write(f"{read_all(lake) / 1e6:.1f} MB of shards\n")
    compare("reading shards", lambda: read_all(lake), rounds)
    compare("reading text_id", lambda: read_all(lake, ["text_id"]), rounds)
    compare("documents", lambda: curate(lake), rounds)
    compare("signatures", lambda: sign(lake), rounds)


if __name__ == "__main__":
    main()
