"""The leak gate of packs: `.venv/bin/python benchmarks/leak_gate.py [MILLION_TOKENS] [FOLDER]`.

Packs so many tokens (100 million by default) of 30 MB of Python files below FOLDER (this
environment's packages), in as many passes as it takes, by a tokenizer that is trained on them.
Prints the CPU seconds, threads included, of the gate's first search, and of a second attempt.
"""

import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from snow_assets.corpus.problems import read_problems
from snow_assets.curation.tokenizer.encoding import count_tokens
from snow_assets.curation.tokenizer.training import train
from snow_assets.pretraining.gates import Benchmarks, search_for_leaks
from snow_assets.pretraining.packs import pack
from snow_assets.pretraining.sources import LanguageSource
from snow_assets.recipe import ARCTIC, SMOKE
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM

_MAX_SEQ_LEN, _MAX_BYTES, _TRAINING_FILES, _BATCH_FILES = 8_192, 30_000_000, 200, 256


def read_texts(folder: Path) -> list[str]:
    """Of at most 30 MB together."""
    texts, num_bytes = [], 0
    for path in sorted(folder.rglob("*.py")):
        if 1_000 < (size := path.stat().st_size) < _MAX_BYTES - num_bytes:
            texts.append(path.read_text(errors="replace"))
            num_bytes += size
    return texts


def source_of(texts: list[str], counts: list[int], num_passes: int) -> LanguageSource:
    """Documents whose columns beside text and tokens are their index."""

    def documents(columns: Sequence[str], *, start: int) -> pa.Table:
        own = slice(start, start + _BATCH_FILES)
        index = [f"document/{start + row}" for row in range(len(texts[own]))]
        values = {"text": texts[own], "num_tokens": counts[own]}
        table = pa.table({name: values.get(name, index) for name in columns})
        return table.append_column("passes", pa.array([num_passes] * len(index), pa.int32()))

    total = sum(counts) + len(counts)
    return LanguageSource(
        language="python",
        num_documents=len(texts),
        unique_tokens=total,
        pass_tokens=[total] * num_passes,
        shards=[partial(documents, start=start) for start in range(0, len(texts), _BATCH_FILES)],
    )


def main(million_tokens: float = 100, folder: str = sysconfig.get_path("purelib")) -> None:
    texts = read_texts(Path(folder))
    tokenizer = train(iter(texts[:: max(1, len(texts) // _TRAINING_FILES)]), vocab_size=4_096)
    counts = [int(count) for count in count_tokens(tokenizer, texts)]
    sequences = round(million_tokens * 1e6 / _MAX_SEQ_LEN)
    num_passes = -(-sequences * _MAX_SEQ_LEN // sum(counts))
    general = ARCTIC.pretraining.phase("general")
    problems = pa.Table.from_pylist(
        read_problems(SMOKE.evaluation.benchmarks), schema=BENCHMARK_PROBLEM
    )
    benchmarks = Benchmarks(
        problems=problems, window_tokens=ARCTIC.curation.contamination.gate_window_tokens
    )
    with tempfile.TemporaryDirectory() as lake:
        packs = f"{lake}/general_packs/all/0"
        pack(
            [source_of(texts, counts, num_passes)],
            folder=packs,
            tokenizer=tokenizer,
            phase=replace(general, tokens=sequences * _MAX_SEQ_LEN, max_passes=num_passes),
            packing=ARCTIC.pretraining.packing,
            max_seq_len=_MAX_SEQ_LEN,
        )
        num_shards = sum(entry.name.startswith("tokens-") for entry in shards.records(packs))
        for attempt in ("first search", "second attempt"):
            started, cpu_started = time.monotonic(), time.process_time()
            search_for_leaks(packs, tokenizer, [], benchmarks)
            print(
                f"{attempt}: {sequences * _MAX_SEQ_LEN / 1e6:.1f} M tokens in {num_shards} shards, "
                f"{time.process_time() - cpu_started:.2f} CPU s, "
                f"{time.monotonic() - started:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main(*map(float, sys.argv[1:2]), *sys.argv[2:3])
