"""Code that the annotator learns to call good: files of chosen distributions, and their functions.

A function with a docstring that says enough becomes an instruction-like pair: the docstring
first, then the function without it.
"""

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from snow_assets import shards
from snow_assets.corpus import distributions
from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.licenses import decide
from snow_assets.corpus.problems import PACKAGE as BENCHMARK_PACKAGE
from snow_assets.corpus.received import SourceFile, normalised, order_by_hash
from snow_assets.documents import EXEMPLAR, text_id
from snow_assets.recipe import CorpusRecipe, ExemplarRecipe

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
    """Keep the exemplars as a table; returns counts by kind and by repository.

    A text that holds a benchmark's solution is left out. No exemplar at all: ValueError.
    """
    quoted = _solutions(problems, min_substring_chars)
    rows: dict[str, dict[str, Any]] = {}
    num_quoting = 0
    for row in _all(recipe, corpus, languages):
        if _quotes(row["text"], quoted):
            num_quoting += 1
        else:
            rows.setdefault(row["text_id"], row)
    if not rows:
        raise ValueError(
            f"the exemplar repositories {recipe.repositories} have no file under a permissive "
            f"licence in {tuple(languages)}: name others in the recipe's exemplars.repositories"
        )
    made = [rows[name] for name in sorted(rows)]
    shards.put_table(folder, TABLE, 0, made, EXEMPLAR)
    kinds = {kind: sum(row["kind"] == kind for row in made) for kind in ("file", "instruction")}
    return {"num_exemplars": len(made), "num_quoting_a_benchmark": num_quoting, "kinds": kinds}


def _all(
    recipe: ExemplarRecipe, corpus: CorpusRecipe, languages: Sequence[str]
) -> Iterator[dict[str, Any]]:
    if BENCHMARK_PACKAGE in {normalised(name) for name in recipe.repositories}:
        raise ValueError(
            f"{BENCHMARK_PACKAGE!r} is a benchmark and cannot be an exemplar: remove it from the "
            f"recipe's exemplars.repositories"
        )
    found = distributions.units(
        recipe.repositories, languages=languages, max_file_bytes=corpus.max_file_bytes
    )
    for unit in found:
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
    """The file's own row, if it may be used; its functions are added to `pairs`."""
    verdict = decide(file.content, file.statement, permissive=corpus.permissive_licenses)
    text = _text(file.content)
    if verdict.license is None or text is None:
        return
    language = candidates(file.path, languages)[0]
    known = {
        "repository": file.repository,
        "path": file.path,
        "license": verdict.license,
        "language": language,
    }
    yield {**known, "text_id": text_id(text), "kind": "file", "text": text}
    if language == "python":
        pairs += [
            {**known, "text_id": text_id(pair), "kind": "instruction", "text": pair}
            for pair in docstring_pairs(text, min_docstring_chars=min_docstring_chars)
        ]


def _text(content: bytes) -> str | None:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.strip() and "\0" not in text else None


def docstring_pairs(text: str, *, min_docstring_chars: int) -> Iterator[str]:
    """Each function whose docstring is long enough: the docstring, a blank line, the function.

    Nothing for a text that Python does not parse. A function that is nothing but its docstring
    makes no pair.
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
    said = node.body[0]
    head = lines[first - 1 : said.lineno - 1]
    body = lines[said.end_lineno or said.lineno : node.end_lineno]
    return textwrap.dedent("\n".join([*head, *body])).strip("\n") + "\n"


def _solutions(problems: pa.Table, min_chars: int) -> list[str]:
    texts = (_no_blanks(text) for text in problems["solution"].to_pylist())
    return [text for text in texts if len(text) >= min_chars]


def _quotes(text: str, solutions: Sequence[str]) -> bool:
    bare = _no_blanks(text)
    return any(solution in bare for solution in solutions)


def _no_blanks(text: str) -> str:
    return re.sub(r"\s+", "", text)
