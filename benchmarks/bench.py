"""Curation and scoring beside the peers, on one corpus, in one run: `make bench`.

Each figure is a process of its own: MB (of the texts) or tokens per CPU second, which is user and
system time of the process and its children, imports included; and its peak memory. Figures of
different days or machines are not to be compared; their ratios are. Our compiled code is cached by
one run that does not count, as bytecode is. Of curation, datatrove's figure is the sum of its
three stages.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "benchmarks")]

import corpus  # noqa: E402
from exactness import exactness  # noqa: E402
from inputs import prepare  # noqa: E402

Told = tuple[dict[str, Any], resource.struct_rusage]


@dataclass
class Figure:
    """One side of a stage: how much it worked on, in MB or tokens, and what that took."""

    side: str
    amount: float
    cpu_seconds: float
    peak_bytes: float

    @property
    def rate(self) -> float:
        return self.amount / self.cpu_seconds


def ours(stage: str, folder: Path, out: Path) -> Told:
    return _run([sys.executable, str(CHECKOUT / "benchmarks" / "ours.py")], stage, folder, out)


def peer(stage: str, folder: Path, out: Path) -> Told:
    python = os.environ.get("PEERS_PYTHON", str(CHECKOUT / ".cache/benchmarks/peers/bin/python"))
    return _run([python, str(CHECKOUT / "benchmarks" / "peers.py")], stage, folder, out)


def _run(command: list[str], stage: str, folder: Path, out: Path) -> Told:
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        process = subprocess.Popen(
            [*command, stage, str(folder), str(out)], env=quiet, stdout=said, stderr=complained
        )
        _, status, usage = os.wait4(process.pid, 0)
        said.seek(0)
        complained.seek(0)
        if status:
            raise RuntimeError(f"{stage}: {complained.read()[-3000:]}")
        return json.loads(said.read().splitlines()[-1]), usage


def measured(stage: str, side: str, folder: Path, out: Path, num_mb: float) -> Figure:
    """A run of one side; scoring counts the tokens that the side read."""
    told, usage = (
        ours(stage, folder, out) if side == "snow" else peer(f"{stage}_{side}", folder, out)
    )
    return Figure(
        side,
        amount=told.get("tokens", num_mb),
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=told["peak_bytes"],
    )


SIDES = {
    "filters": ("snow", "polars", "datatrove"),
    "exact": ("snow", "polars"),
    "near": ("snow", "rensa", "datatrove"),
    "contamination": ("snow", "datatrove"),
    "redaction": ("snow", "detect_secrets"),
    "curation": ("snow",),
    "tokenize": ("snow", "hf"),
    "scoring": ("snow", "sentence_transformers", "transformers"),
}


def growth(folder: Path) -> str:
    """Near duplicates of every tenth text, and of all."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        small, large = (
            measured("near", "snow", where, Path(scratch) / name, 0.0)
            for name, where in (("small", folder / "tenth"), ("large", folder))
        )
    return (
        f"near duplicates of ten times the texts: {small.cpu_seconds:.1f} -> "
        f"{large.cpu_seconds:.1f} CPU s, {large.cpu_seconds / small.cpu_seconds:.1f} times; peak "
        f"{small.peak_bytes / 1e6:,.0f} -> {large.peak_bytes / 1e6:,.0f} MB"
    )


def main(chosen: list[str]) -> None:
    folder = corpus.FOLDER / "bench"
    prepare(folder)
    texts = sum(pq.read_metadata(path).num_rows for path in (folder / "texts").glob("*.parquet"))
    sizes = {
        name: sum(
            pc.sum(pc.binary_length(pq.read_table(path, columns=["text"])["text"])).as_py()
            for path in (folder / name).glob("*.parquet")
        )
        / 1e6
        for name in ("texts", "quoting", "some_texts", "secrets")
    }
    print(f"{texts:,} texts, {sizes['texts']:.0f} MB; {date.today()}\n", flush=True)
    print("| stage | side | per CPU s | CPU s | peak MB | times the last | exactness |")
    print("|---|---|---:|---:|---:|---:|---|", flush=True)
    seconds: dict[str, float] = {}
    inputs = {"contamination": "quoting", "redaction": "secrets", "tokenize": "some_texts"}
    for stage, sides in SIDES.items():
        if chosen and stage not in chosen:
            continue
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            outs = {side: Path(scratch) / side for side in sides}
            ours(stage, folder, Path(scratch) / "warm")
            shutil.rmtree(Path(scratch) / "warm")
            num_mb = sizes[inputs.get(stage, "texts")]
            figures = [measured(stage, side, folder, outs[side], num_mb) for side in sides]
            told = exactness(stage, outs, folder)
        seconds |= {one.side + stage: one.cpu_seconds for one in figures}
        parts = [seconds.get(f"datatrove{part}") for part in ("filters", "near", "contamination")]
        if stage == "curation" and all(parts):
            figures.append(Figure("datatrove", num_mb, sum(filter(None, parts)), float("nan")))
        unit = "tokens" if stage == "scoring" else "MB"
        for figure in figures:
            ratio = f"{figure.rate / figures[-1].rate:.1f}x"
            print(
                f"| {stage} | {figure.side} | {figure.rate:,.1f} {unit} "
                f"| {figure.cpu_seconds:.1f} | {figure.peak_bytes / 1e6:,.0f} | {ratio} "
                f"| {told.get(figure.side, '')} |",
                flush=True,
            )
    if not chosen or "growth" in chosen:
        print(f"\n{growth(folder)}")


if __name__ == "__main__":
    main(sys.argv[1:])
