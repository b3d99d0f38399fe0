"""Installed files that contamination drops: quotations, and usual idioms that match by accident.

`python benchmarks/idioms.py [FOLDER ...]`: source files of the folders (by default those that
Python imports from) against HumanEval, by the filter's own matchers. Prints how many files each
method drops, each problem with the files that it drops, and where filter and gate disagree.
"""

import sys
import sysconfig
from collections import defaultdict
from pathlib import Path

import numpy as np
import pyarrow as pa

CHECKOUT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(CHECKOUT))

from snow_assets.corpus.problems import read_problems  # noqa: E402
from snow_assets.curation.decontamination.gate import gate_hits  # noqa: E402
from snow_assets.curation.decontamination.prefilter import hits, index_problems, prefilter  # noqa: E402
from snow_assets.curation.decontamination.rule import GATE_METHODS  # noqa: E402
from snow_assets.recipe import ARCTIC  # noqa: E402
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM  # noqa: E402

ENDINGS = {".py", ".pyi", ".c", ".h", ".cc", ".cpp", ".hpp", ".js", ".mjs", ".ts", ".sql", ".sh"}
BATCH_FILES = 500
MAX_BYTES = 1_000_000
GATE_EVERY = 20  # of the files that the filter finds nothing in, these are shown to the gate


def main(folders: list[str]) -> None:
    roots = folders or [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")]
    paths = sorted(
        {
            path.resolve()
            for root in roots
            for path in Path(root).rglob("*")
            if path.suffix in ENDINGS and path.is_file() and path.stat().st_size <= MAX_BYTES
        }
    )
    problems = pa.Table.from_pylist(read_problems(["HumanEval"]), schema=BENCHMARK_PROBLEM)
    recipe = ARCTIC.curation.contamination
    index = index_problems(problems, recipe=recipe)
    suspects_in = prefilter(index)
    dropped: dict[str, set[Path]] = defaultdict(set)
    by_problem: dict[tuple[str, str], list[tuple[Path, str]]] = defaultdict(list)
    num_bytes = disagreements = num_shown = 0
    for start in range(0, len(paths), BATCH_FILES):
        texts = {path: path.read_text(errors="replace") for path in paths[start:][:BATCH_FILES]}
        num_bytes += sum(len(text.encode()) for text in texts.values())
        column = pa.array(texts.values(), pa.large_string())
        suspects = suspects_in(pa.chunked_array([column]))
        suspect = set(np.flatnonzero(suspects.overlap | suspects.gate).tolist())
        shown: dict[str, tuple[str, set[str]]] = {}
        for place, (path, text) in enumerate(texts.items()):
            found = hits(text, index) if place in suspect else []
            for hit in found:
                dropped[hit.method].add(path)
                by_problem[hit.problem_id, hit.method].append((path, hit.evidence))
            if found or (start + place) % GATE_EVERY == 0:
                own = {hit.problem_id for hit in found if hit.method in GATE_METHODS}
                shown[str(path)] = (text, own)
        refused: dict[str, set[str]] = defaultdict(set)
        pairs = [(name, text) for name, (text, _) in shown.items()]
        for leak in gate_hits(pairs, problems, window_tokens=recipe.gate_window_tokens):
            refused[leak.document_id].add(leak.problem_id)
        num_shown += len(shown)
        disagreements += sum(refused[name] != own for name, (_, own) in shown.items())
    total = set().union(*dropped.values())
    print(f"{len(paths):,} files, {num_bytes / 1e6:,.1f} MB: {len(total)} dropped")
    for method, files in sorted(dropped.items()):
        own = files - set().union(*(other for name, other in dropped.items() if name != method))
        print(f"  {method}: {len(files)}, {len(own)} by it alone")
    print(f"filter and gate disagree in {disagreements} of {num_shown:,} files shown to both")
    for (problem, method), matches in sorted(by_problem.items()):
        print(f"\n{problem} by {method}: {len(matches)} files")
        for path, evidence in matches[:5]:
            print(f"  {path}\n    {evidence[:160]}")


if __name__ == "__main__":
    main(sys.argv[1:])
