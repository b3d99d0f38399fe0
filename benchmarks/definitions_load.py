"""CPU seconds of loading `snow_assets.definitions` beside a bare Dagster definition.

Run from the checkout: `python benchmarks/definitions_load.py`. Each load is a process of its own,
the two kinds in turn, so that a busy moment hits both. The first pair is not counted: it reads
the files from disk and writes the modules' bytecode, which the environment may not forbid
(`PYTHONDONTWRITEBYTECODE`).
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
RUNS = 9

BARE = """
import dagster as dg

@dg.asset
def an_asset() -> None:
    pass

defs = dg.Definitions(assets=[an_asset])
defs.resolve_asset_graph()
"""
OURS = "from snow_assets.definitions import defs; defs.resolve_asset_graph()"


def cpu_seconds(program: str) -> float:
    environment = {**os.environ}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = os.times()
    subprocess.run([sys.executable, "-c", program], check=True, cwd=CHECKOUT, env=environment)
    after = os.times()
    user = after.children_user - before.children_user
    return user + after.children_system - before.children_system


def main() -> None:
    for program in (BARE, OURS):
        cpu_seconds(program)
    pairs = [(cpu_seconds(BARE), cpu_seconds(OURS)) for _ in range(RUNS)]
    bare, ours = zip(*pairs, strict=True)
    print("| module | median CPU s | fewest | most |")
    print("|---|---|---|---|")
    for name, runs in (("bare Dagster definitions", bare), ("snow_assets.definitions", ours)):
        print(f"| {name} | {statistics.median(runs):.2f} | {min(runs):.2f} | {max(runs):.2f} |")
    ratios = [own / other for other, own in pairs]
    print(
        f"| ratio, pair by pair | {statistics.median(ratios):.2f} "
        f"| {min(ratios):.2f} | {max(ratios):.2f} |"
    )


if __name__ == "__main__":
    main()
