"""First rows of large packs: `.venv/bin/python benchmarks/first_rows.py [GB] [BATCHES]`.

Makes packs of random tokens (8,192 a sequence, uint16, shards of 4,096) in TMPDIR. A fresh process
then opens them, orders a phase and reads batches of 512 sequences. Prints the seconds to the first
batch, MB/s of the following ones, what it wrote, and its peak memory after the first and the last.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from peak import peak_bytes

from snow_assets.pretraining.ordering import training_order
from snow_assets.pretraining.sequences import (
    open_sequences,
    passes_by_language,
    put_sequences,
)
from snow_assets.storage import shards

_SEQ_LEN, _SHARD_SEQUENCES, _VOCAB_SIZE, _BATCH = 8_192, 4_096, 50_000, 512


def put_random_packs(folder: str, num_bytes: int) -> None:
    random = np.random.default_rng(0)
    for index in range(round(num_bytes / (2 * _SEQ_LEN * _SHARD_SEQUENCES))):
        tokens = random.integers(0, _VOCAB_SIZE, (_SHARD_SEQUENCES, _SEQ_LEN), np.uint16)
        stats = {"language": "python", "passes": [_SHARD_SEQUENCES]}
        put_sequences(folder, index, tokens, stats=stats)
    shards.finish(
        folder,
        asset="packs",
        partition="all",
        fingerprint="random",
        code_version="1",
        recipe="none",
        config={},
        inputs=[],
        stats={},
    )


def read_batches(packs: str, num_batches: int) -> None:
    before, started = peak_bytes(), time.monotonic()
    sequences = open_sequences(packs, max_seq_len=_SEQ_LEN, vocab_size=_VOCAB_SIZE)
    order = training_order(passes_by_language(packs), phase="general", seed=0)
    sequences[order[:_BATCH]]
    first_seconds, first_peak = time.monotonic() - started, peak_bytes()
    started, cpu_started = time.monotonic(), time.process_time()
    for batch in range(1, num_batches):
        sequences[order[batch * _BATCH : (batch + 1) * _BATCH]]
    megabytes = (num_batches - 1) * _BATCH * sequences.max_seq_len * 2 / 1e6
    sys.stdout.write(
        f"{sequences.size * 2 / 1e9:.1f} GB, {len(sequences):,} sequences; first {_BATCH} rows "
        f"after {first_seconds:.2f} s; then {megabytes / (time.monotonic() - started):,.0f} MB/s, "
        f"{megabytes / (time.process_time() - cpu_started):,.0f} MB per CPU s; peak memory "
        f"{before / 1e6:.0f} MB at the start, {first_peak / 1e6:.0f} MB after the first rows, "
        f"{peak_bytes() / 1e6:.0f} MB after {num_batches} batches\n"
    )


def main() -> None:
    if len(sys.argv) == 4 and sys.argv[1] == "read":
        read_batches(sys.argv[2], int(sys.argv[3]))
        return
    num_bytes = float(sys.argv[1]) * 1e9 if len(sys.argv) > 1 else 10e9
    num_batches = sys.argv[2] if len(sys.argv) > 2 else "50"
    with tempfile.TemporaryDirectory(prefix="packs-") as lake:
        packs = f"{lake}/packs/all/random"
        put_random_packs(packs, round(num_bytes))
        with tempfile.TemporaryDirectory(prefix="scratch-") as scratch:
            command = [sys.executable, __file__, "read", packs, num_batches]
            subprocess.run(command, check=True, env={"PYTHONPATH": ".", "TMPDIR": scratch})
            scratch_bytes = sum(path.stat().st_size for path in Path(scratch).rglob("*"))
            sys.stdout.write(f"{scratch_bytes} bytes of scratch\n")


if __name__ == "__main__":
    main()
