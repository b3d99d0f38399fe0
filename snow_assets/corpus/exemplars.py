"""Exemplars, the annotator's positive examples: files and functions of chosen distributions.

A function with a long enough docstring becomes an instruction-like pair: the docstring first, then
the function without it.
"""

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from snow_assets.corpus import distributions
from snow_assets.corpus.benchmarks import BENCHMARKS
from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.licenses import decide
from snow_assets.corpus.source_units import SourceFile, normalised, order_by_hash
from snow_assets.recipe import CorpusRecipe, ExemplarRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas import EXEMPLAR, text_id

TABLE = "exemplars"


def write(
    folder: str,
    *,
    recipe: ExemplarRecipe,
    corpus: CorpusRecipe,
    languages: Sequence[str],
    problems: pa.Table,
    min_substring_chars: int,
) -> dict[str, Any]:
    """Write the exemplars as a table; return counts by kind.

    Texts that contain a benchmark's solution are dropped. Raises ValueError without any exemplar.
    """
    solutions = _solutions(problems, min_substring_chars)
    rows: dict[str, dict[str, Any]] = {}
    num_contaminated = 0
    for row in _candidate_rows(recipe, corpus, languages):
        if _contains_solution(row["text"], solutions):
            num_contaminated += 1
        else:
            rows.setdefault(row["text_id"], row)
    if not rows:
        raise ValueError(
            f"the exemplar repositories {recipe.repositories} have no file under a permissive "
            f"licence in {tuple(languages)}: name others in the recipe's exemplars.repositories"
        )
    exemplar_rows = [rows[name] for name in sorted(rows)]
    shards.put_table(folder, TABLE, 0, exemplar_rows, EXEMPLAR)
    kinds = {
        kind: sum(row["kind"] == kind for row in exemplar_rows) for kind in ("file", "instruction")
    }
    return {
        "num_exemplars": len(exemplar_rows),
        "num_quoting_a_benchmark": num_contaminated,
        "kinds": kinds,
    }


def _candidate_rows(
    recipe: ExemplarRecipe, corpus: CorpusRecipe, languages: Sequence[str]
) -> Iterator[dict[str, Any]]:
    repositories = {normalised(name) for name in recipe.repositories}
    for benchmark in BENCHMARKS.values():
        if normalised(benchmark.source.name) in repositories:
            raise ValueError(
                f"{benchmark.source.name!r} is a benchmark and cannot be an exemplar: remove it "
                "from the recipe's exemplars.repositories"
            )
    units = distributions.units(
        recipe.repositories, languages=languages, max_file_bytes=corpus.max_file_bytes
    )
    for unit in units:
        files = [
            file
            for file in unit.files(lambda _repository, _path: True)
            if isinstance(file, SourceFile)
        ]
        chosen = _first_by_hash(files, recipe.files_per_repository)
        pairs: list[dict[str, Any]] = []
        for file in chosen:
            yield from _rows(file, corpus, languages, recipe.min_docstring_chars, pairs)
        yield from sorted(pairs, key=lambda row: order_by_hash(row["text_id"]))[
            : recipe.files_per_repository
        ]


def _first_by_hash(files: Iterable[SourceFile], count: int) -> list[SourceFile]:
    ordered = sorted(files, key=lambda file: order_by_hash(file.repository, file.path))
    return ordered[:count]


def _rows(
    file: SourceFile,
    corpus: CorpusRecipe,
    languages: Sequence[str],
    min_docstring_chars: int,
    pairs: list[dict[str, Any]],
) -> Iterator[dict[str, Any]]:
    """Yield the file's row, if its licence is permitted; append its functions to `pairs`."""
    decision = decide(file.content, file.statement, permissive=corpus.permissive_licenses)
    text = _text(file.content)
    if decision.license is None or text is None:
        return
    language = candidates(file.path, languages)[0]
    columns = {
        "repository": file.repository,
        "path": file.path,
        "license": decision.license,
        "language": language,
    }
    yield {**columns, "text_id": text_id(text), "kind": "file", "text": text}
    if language == "python":
        pairs += [
            {**columns, "text_id": text_id(pair), "kind": "instruction", "text": pair}
            for pair in docstring_pairs(text, min_docstring_chars=min_docstring_chars)
        ]


def _text(content: bytes) -> str | None:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.strip() and "\0" not in text else None


def docstring_pairs(text: str, *, min_docstring_chars: int) -> Iterator[str]:
    """Yield each function with a long enough docstring: docstring, blank line, function.

    Nothing for a text that Python does not parse. Functions with an empty body are skipped.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    lines = text.splitlines()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring and len(docstring) >= min_docstring_chars and len(node.body) > 1:
                yield f'"""{docstring}\n"""\n\n{_without_docstring(node, lines)}'


def _without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> str:
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    docstring = node.body[0]
    head = lines[first - 1 : docstring.lineno - 1]
    body = lines[docstring.end_lineno or docstring.lineno : node.end_lineno]
    return textwrap.dedent("\n".join([*head, *body])).strip("\n") + "\n"


def _solutions(problems: pa.Table, min_chars: int) -> list[str]:
    texts = (_without_whitespace(text) for text in problems["solution"].to_pylist())
    return [text for text in texts if len(text) >= min_chars]


def _contains_solution(text: str, solutions: Sequence[str]) -> bool:
    bare = _without_whitespace(text)
    return any(solution in bare for solution in solutions)


def _without_whitespace(text: str) -> str:
    return re.sub(r"\s+", "", text)
