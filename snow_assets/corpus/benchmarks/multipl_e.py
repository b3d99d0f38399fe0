"""MultiPL-E: HumanEval and MBPP translated to other languages (arXiv 2208.08227).

The published prompts with reworded terminology and transformed doctests. They have no canonical
solutions, so likelihoods and the annotator's gate skip them; prompts are searched in the corpus. A
completion, with the tests after it, is a program that exits with 0.
"""

import io
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

from snow_assets.corpus.benchmarks.declaration import Benchmark, PublishedFile

_COLUMNS = ["name", "language", "prompt", "tests", "stop_tokens"]
_ORIGINS = {"humaneval": "HumanEval", "mbpp": "MBPP"}
_NAME = re.compile(r"(?:HumanEval|mbpp)_(\d+)_(\w+)")


class _Language(NamedTuple):
    language: str  # of snow_assets/languages.py
    num_problems: Mapping[str, int]
    stop_sequences: tuple[str, ...]


_LANGUAGES = {
    "cpp": _Language("cpp", {"humaneval": 161, "mbpp": 397}, ("\n}",)),
    "js": _Language(
        "javascript",
        {"humaneval": 161, "mbpp": 397},
        ("\nfunction ", "\n/*", "\n//", "\nconsole.log"),
    ),
    "php": _Language("php", {"humaneval": 161, "mbpp": 397}, ("\nfunction", "\n?>", "\n//", "\n#")),
    "pl": _Language("perl", {"humaneval": 161, "mbpp": 396}, ("\nsub", "\n#", "\n\n")),
    "rb": _Language("ruby", {"humaneval": 161, "mbpp": 397}, ("\nclass", "\ndef", "\n#", "\n\n")),
    "sh": _Language("shell", {"humaneval": 158, "mbpp": 382}, ("\n}",)),
}
"""By file extension, as in the names of the published subsets."""


def _parse(content: bytes, *, subset: str, extension: str) -> Iterator[Mapping[str, str]]:
    import pyarrow.parquet as pq

    stop_sequences = _LANGUAGES[extension].stop_sequences
    for task in pq.read_table(io.BytesIO(content), columns=_COLUMNS).to_pylist():
        name = task["name"]
        if not (match := _NAME.fullmatch(name or "")):
            raise ValueError(f"name {name!r} is not ORIGIN_NUMBER_FUNCTION")
        if empty := [column for column in _COLUMNS if not task[column]]:
            raise ValueError(f"{name}: {', '.join(empty)} is empty")
        if task["language"] != extension:
            raise ValueError(f"{name}: language is {task['language']!r}, not {extension!r}")
        if tuple(task["stop_tokens"]) != stop_sequences:
            raise ValueError(
                f"{name}: stop_tokens are {task['stop_tokens']}, and multipl_e.py declares "
                f"{list(stop_sequences)}"
            )
        yield {
            "problem_id": f"MultiPL-E-{subset}-{extension}/{match[1]}",
            "origin_id": f"{_ORIGINS[subset]}/{match[1]}",
            "prompt": task["prompt"],
            "solution": "",
            "test": task["tests"],
            "entry_point": match[2],
        }


MULTIPL_E = tuple(
    Benchmark(
        name=f"MultiPL-E-{subset}-{extension}",
        source=PublishedFile(
            name=f"MultiPL-E/{subset}-{extension}/test-00000-of-00001.parquet",
            url="https://huggingface.co/datasets/nuprl/MultiPL-E",
            license="MIT; the problems of MBPP are CC-BY-4.0",
        ),
        language=language.language,
        num_problems=language.num_problems[subset],
        parse=partial(_parse, subset=subset, extension=extension),
        stop_sequences=language.stop_sequences,
        test_kind="program",
    )
    for subset in _ORIGINS
    for extension, language in _LANGUAGES.items()
)
