"""Benchmarks, one module each: a recipe names those that its models are evaluated on.

Their problems are kept out of all training data, and half of them gate the annotator.
"""

from snow_assets.corpus.benchmarks.bigcodebench import BIG_CODE_BENCH
from snow_assets.corpus.benchmarks.declaration import Benchmark
from snow_assets.corpus.benchmarks.evalplus import HUMAN_EVAL_PLUS, MBPP_PLUS
from snow_assets.corpus.benchmarks.evo_eval import EVO_EVAL
from snow_assets.corpus.benchmarks.human_eval import HUMAN_EVAL
from snow_assets.corpus.benchmarks.mbpp import MBPP
from snow_assets.corpus.benchmarks.multipl_e import MULTIPL_E

BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        HUMAN_EVAL,
        HUMAN_EVAL_PLUS,
        MBPP,
        MBPP_PLUS,
        *EVO_EVAL,
        *BIG_CODE_BENCH,
        *MULTIPL_E,
    )
}


def benchmark_named(name: str) -> Benchmark:
    """The benchmark of a name; ValueError if there is none."""
    if name not in BENCHMARKS:
        raise ValueError(
            f"there is no benchmark {name!r}, only {sorted(BENCHMARKS)}: name one of these in the "
            "recipe's evaluation.benchmarks, or declare it in snow_assets/corpus/benchmarks"
        )
    return BENCHMARKS[name]
