"""How near-duplicate search grows in process and on Ray: `python benchmarks/engine.py [TIMES ...]`.

The benchmark's corpus (43,731 files) is repeated TIMES times (1 and 10 if none are named), with
texts of each repetition that equal none of the others: their ids, bands and shingles are hashed
again, so each repetition has the same duplicates within it. Candidate pairs, verified pairs and
clusters are then made in this process and by Ray on this machine; their stats have to be equal.
Partitions have 32 MB, which ten repetitions fill, so that more have more of them and not larger
ones. Prints CPU seconds of all processes, Ray's own and its start included, wall seconds, the
greatest memory (PSS) of the driver, of a worker and of all processes, those of driver and worker
without the objects of Ray's store (`driver_own_mb`, `worker_own_mb`), and the greatest size of
temporary and spilled files.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "benchmarks")]

import corpus  # noqa: E402
import ours  # noqa: E402

from snow_assets.curation.columns import buffers  # noqa: E402
from snow_assets.curation.dedup.candidates import find_candidate_pairs  # noqa: E402
from snow_assets.curation.dedup.canonical_documents import put_clusters  # noqa: E402
from snow_assets.curation.dedup.signatures import (  # noqa: E402
    SHINGLES,
    bands_in,
    put_signatures,
    signature_schema,
)
from snow_assets.curation.dedup.verification import verify_pairs  # noqa: E402
from snow_assets.curation.hashing import splitmix64  # noqa: E402
from snow_assets.recipe import ARCTIC  # noqa: E402
from snow_assets.runtime.exchange.chosen import open_exchange  # noqa: E402
from snow_assets.storage import shards  # noqa: E402
from snow_assets.storage.schemas.curation import DOCUMENT  # noqa: E402

CURATION = ARCTIC.curation
PARTITION_BYTES = 32_000_000
TICKS = os.sysconf("SC_CLK_TCK")


def hashed_again(ids: pa.ChunkedArray, repetition: int) -> pa.Array:
    if not repetition:
        return ids
    names = (f"{repetition} {name}" for name in ids.to_pylist())
    return pa.array([hashlib.sha256(name.encode()).hexdigest() for name in names])


def other_shingles(column: pa.ChunkedArray, repetition: int) -> pa.Array:
    """Shingles of each text under a bijection of 32-bit values, sorted again."""
    data, offsets = buffers(column.combine_chunks())
    counts = np.diff(offsets) // 4
    values = data.view(np.uint32) * np.uint32(2 * repetition + 1) + np.uint32(repetition)
    rows = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    ordered = np.sort(rows << np.uint64(32) | values.astype(np.uint64)).astype(np.uint32)
    pieces = [None, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(ordered)]
    return pa.Array.from_buffers(pa.binary(), len(counts), pieces)


def put_repetition(base: Path, lake: Path, repetition: int) -> None:
    """A source with the corpus's documents, without text, and their signatures."""
    source = f"r{repetition}"
    documents, signatures = (
        str(base / asset / "bench" / "g") for asset in ("documents", "signatures")
    )
    new_documents, new_signatures = (
        str(lake / asset / source / "g") for asset in ("documents", "signatures")
    )
    for entry in shards.manifest(documents).tables("documents"):
        index = int(entry.name.removeprefix("documents-").removesuffix(".parquet"))
        names = [name for name in DOCUMENT.names if name != "text"]
        table = shards.read_shard(documents, entry.name, columns=names)
        for name in ("document_id", "text_id"):
            ids = hashed_again(table[name], repetition)
            table = table.set_column(table.column_names.index(name), name, ids)
        table = table.append_column("text", pa.array([""] * table.num_rows))
        stats = {"language": entry.stats["language"]}
        shards.put_table(new_documents, "documents", index, table, DOCUMENT, stats=stats)
    ours.finish(Path(new_documents))
    for index, entry in enumerate(shards.manifest(signatures).tables("signatures")):
        table = shards.read_shard(signatures, entry.name)
        bands = bands_in(table["bands"])
        if repetition:
            bands = splitmix64(bands ^ splitmix64(np.array([repetition], dtype=np.uint64)))
        flat = pa.py_buffer(np.ascontiguousarray(bands))
        columns = [
            hashed_again(table["text_id"], repetition),
            table["num_shingles"],
            pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(8 * bands.shape[1]), len(bands), [None, flat]
            ),
        ]
        schema = signature_schema(bands.shape[1])
        name = entry.name.replace("signatures", "shingles")
        shingles = other_shingles(shards.read_shard(signatures, name)["shingles"], repetition)
        shards.put_table(
            new_signatures,
            "shingles",
            index,
            pa.table([shingles], schema=SHINGLES),
            SHINGLES,
            compression=None,
        )
        key = f"{source}/g/{entry.stats['documents'].rsplit('/', 1)[1]}"
        shards.put_table(
            new_signatures,
            "signatures",
            index,
            pa.table(columns, schema=schema),
            schema,
            stats={**entry.stats, "documents": key},
            compression=None,
        )
    ours.finish(Path(new_signatures))


def search(lake: Path, out: Path) -> dict[str, int]:
    """Near duplicates by the executor that the environment names; the stats."""
    documents, signatures = (
        [str(source / "g") for source in sorted((lake / asset).iterdir())]
        for asset in ("documents", "signatures")
    )
    candidates, pairs, clusters = (
        out / asset / "all" / "g" for asset in ("candidate_pairs", "verified_pairs", "clusters")
    )
    stats: dict[str, int] = {}
    with open_exchange() as opened:
        exchange = replace(opened, partition_bytes=PARTITION_BYTES)  # type: ignore[type-var]
        stats |= find_candidate_pairs(
            documents,
            signatures,
            str(candidates),
            filters=CURATION.filters,
            recipe=CURATION.near_duplicates,
            exchange=exchange,
        )
        ours.finish(candidates)
        stats |= verify_pairs(
            str(candidates),
            signatures,
            str(pairs),
            min_jaccard=CURATION.near_duplicates.min_jaccard,
            exchange=exchange,
        )
        ours.finish(pairs)
        stats |= put_clusters(
            documents, str(pairs), str(clusters), filters=CURATION.filters, exchange=exchange
        )
    digests = [
        shards.manifest(str(pairs)).digest,
        shards.content_digest(shards.records(str(clusters))),
    ]
    return {**stats, "digests": hashlib.sha256("".join(digests).encode()).hexdigest()[:12]}


@dataclass
class Usage:
    """CPU, memory and temporary files of all processes with a marker in their environment."""

    marker: bytes
    scratch: Path
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    is_ours: dict[str, bool] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)

    def sample(self, driver: int) -> None:
        total, temporary_files = 0, dict[tuple[int, int], int]()
        for process in filter(str.isdigit, (path.name for path in Path("/proc").iterdir())):
            try:
                if not self.is_ours.get(process):
                    environment = Path("/proc", process, "environ").read_bytes()
                    self.is_ours[process] = self.marker in environment
                if not self.is_ours[process]:
                    continue
                fields = Path("/proc", process, "stat").read_text().rsplit(")", 1)[1].split()
                self.cpu_seconds[process] = (int(fields[11]) + int(fields[12])) / TICKS
                lines = Path("/proc", process, "smaps_rollup").read_text().splitlines()
                title = Path("/proc", process, "cmdline").read_text().strip("\0 ")
                temporary_files |= deleted_files(process, self.scratch)
            except OSError:
                continue
            sizes = {line.split()[0]: int(line.split()[1]) * 1024 for line in lines[1:]}
            total += sizes["Pss:"]
            kind = "driver" if int(process) == driver else "ray"
            if title.startswith("ray::_"):
                kind = "worker"
            self.keep_peak(kind, sizes["Pss:"])
            self.keep_peak(f"{kind}_own", sizes["Pss_Anon:"])
        self.keep_peak("all", total)
        self.keep_peak("scratch", sum(temporary_files.values()) + folder_bytes(self.scratch))

    def keep_peak(self, kind: str, num_bytes: int) -> None:
        self.peak_bytes[kind] = max(self.peak_bytes.get(kind, 0), num_bytes)


def deleted_files(process: str, folder: Path) -> dict[tuple[int, int], int]:
    """The sizes of the deleted files of a folder that a process has open, by device and inode."""
    sizes = {}
    for link in Path("/proc", process, "fd").iterdir():
        with suppress(OSError):
            target = str(link.readlink())
            if target.startswith(str(folder)) and target.endswith(" (deleted)"):
                status = link.stat()
                sizes[status.st_dev, status.st_ino] = status.st_size
    return sizes


def folder_bytes(folder: Path) -> int:
    """The size of the files below a folder."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # files come and go
                total += Path(parent, name).stat().st_size
    return total


def measure(lake: Path, out: Path, address: str) -> dict[str, object]:
    """Run `search` in a process of its own."""
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:  # a short path, for the sockets of Ray
        return measure_with(Path(scratch), lake, out, address)


def measure_with(scratch: Path, lake: Path, out: Path, address: str) -> dict[str, object]:
    marker = uuid.uuid4().hex
    environment = {
        **os.environ,
        "SNOW_BENCHMARK": marker,
        "SNOW_RAY_ADDRESS": address,
        "TMPDIR": str(scratch),
        "OMP_NUM_THREADS": "1",
    }
    started = time.time()
    process = subprocess.Popen(
        [sys.executable, __file__, "search", str(lake), str(out)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    usage = Usage(marker=marker.encode(), scratch=scratch)
    while process.poll() is None:
        usage.sample(process.pid)
        time.sleep(0.3)
    assert process.stdout is not None
    stats = json.loads(process.stdout.read().splitlines()[-1])
    megabytes = {f"{kind}_mb": round(size / 1e6) for kind, size in usage.peak_bytes.items()}
    cpu_seconds = round(sum(usage.cpu_seconds.values()), 1)
    wall_seconds = round(time.time() - started)
    return {"cpu_seconds": cpu_seconds, "wall_seconds": wall_seconds, **megabytes, **stats}


def main(times: list[int]) -> None:
    folder = Path(os.environ.get("SNOW_BENCH_OUT", corpus.FOLDER)) / "engine"
    shutil.rmtree(folder, ignore_errors=True)
    base = folder / "base"
    base.mkdir(parents=True)
    (base / "raw").write_text(corpus.corpus())
    ours.documents(base, base)
    documents = str(base / "documents" / "bench" / "g")
    put_signatures(
        documents, str(base / "signatures" / "bench" / "g"), recipe=CURATION.near_duplicates
    )
    ours.finish(base / "signatures" / "bench" / "g")
    lake = folder / "lake"
    repetitions = 0
    for number in sorted(times):
        for repetition in range(repetitions, number):
            put_repetition(base, lake, repetition)
        repetitions = number
        figures = {
            name: measure(lake, folder / "out", address)
            for name, address in (("process", ""), ("ray", "local"))
        }
        for name, values in figures.items():
            print(number, name, json.dumps(values), flush=True)
        assert figures["process"]["digests"] == figures["ray"]["digests"]
    shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["search"]:
        print(json.dumps(search(Path(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main([int(number) for number in sys.argv[1:]] or [1, 10])
