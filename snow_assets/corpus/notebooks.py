"""Convert a Jupyter notebook to a Python script: code cells, with markdown as comments."""

import ast
import json
import warnings
from typing import Any

_PYTHON_KERNELS = ("python", "ipython", "pypy", "xpython", "xeus-python")
# Cell magics whose cell is Python: only the magic's line becomes a comment.
_PYTHON_CELL_MAGICS = {
    "%%capture",
    "%%memit",
    "%%prun",
    "%%python",
    "%%python3",
    "%%time",
    "%%timeit",
}
_MAX_CELLS = 100_000


class NotebookError(ValueError):
    """The bytes cannot be converted to a script; the message holds the reason."""


def is_notebook(path: str) -> bool:
    return path.lower().endswith(".ipynb")


def as_script(content: bytes) -> str:
    """Convert: code cells in order, markdown as comments, no outputs, IPython syntax commented out.

    Reads formats 3 and 4 (nbformat.readthedocs.io). jupytext detects IPython's syntax. Raises
    NotebookError if the bytes are no notebook, if the kernel is not stated to be Python's, if there
    is no code, or if the script is not Python. Hostile JSON may raise other exceptions: call it by
    `untrusted.parse_untrusted`.
    """
    try:
        notebook = json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise NotebookError(f"no JSON: {error}") from error
    if not isinstance(notebook, dict):
        raise NotebookError("JSON, but no object")
    cells = _cells(notebook)
    _require_python(_kernel_labels(notebook, cells))
    parts = [part for cell in cells if (part := _part(cell))]
    if not any(is_code for is_code, _ in parts):
        raise NotebookError("it has no code")
    script = "\n\n".join(text for _, text in parts) + "\n"
    if not is_python(script):
        raise NotebookError("its script is not Python 3 that parses")
    return script


def _kernel_labels(notebook: dict[str, Any], cells: list[Any]) -> list[str]:
    """Labels of the kernel's language in the metadata, in lower case."""
    metadata = notebook.get("metadata")
    parts = metadata if isinstance(metadata, dict) else {}
    language, spec = (_object(parts, name) for name in ("language_info", "kernelspec"))
    labels = [language.get("name"), spec.get("language")]
    if not any(isinstance(label, str) for label in labels):
        # A kernel's name may be its environment's; then its display name is `Python 3 (...)`.
        name, display_name = spec.get("name"), spec.get("display_name")
        is_python = any(
            isinstance(label, str) and label.lower().startswith(_PYTHON_KERNELS)
            for label in (name, display_name)
        )
        labels = ["python" if is_python else name or display_name]
    if notebook.get("nbformat") != 4:  # format 3 states it in each code cell
        labels += [cell.get("language") for cell in cells if isinstance(cell, dict)]
    return [label.lower() for label in labels if isinstance(label, str)]


def _require_python(labels: list[str]) -> None:
    if not labels:
        raise NotebookError("it does not say which language its kernel runs")
    foreign = [label for label in labels if not label.startswith(_PYTHON_KERNELS)]
    if foreign:
        raise NotebookError(f"its language is {foreign[0]}, not python")


def _object(parts: dict[str, Any], name: str) -> dict[str, Any]:
    inner = parts.get(name)
    return inner if isinstance(inner, dict) else {}


def _cells(notebook: dict[str, Any]) -> list[Any]:
    sheets = notebook.get("worksheets")
    if isinstance(sheets, list):
        lists = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
    else:
        lists = [notebook.get("cells")]
    cells = [cell for inner in lists if isinstance(inner, list) for cell in inner]
    if len(cells) > _MAX_CELLS:
        raise NotebookError(f"it has {len(cells)} cells, at most {_MAX_CELLS}")
    return cells


def _part(cell: Any) -> tuple[bool, str] | None:
    """Whether the cell is code, and its text; None for an empty or unknown cell."""
    if not isinstance(cell, dict):
        return None
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    if not isinstance(source, str) or not source.strip():
        return None
    # Only \n ends a line of a cell: a form feed or U+2028 is part of a string or a comment.
    source = source.replace("\r\n", "\n").strip("\n")
    source.encode()  # a lone surrogate is no text: UnicodeEncodeError
    if cell.get("cell_type") == "code":
        return True, _code(source)
    if cell.get("cell_type") in {"markdown", "heading"}:
        return False, "\n".join(f"# {line}".rstrip() for line in _comment_lines(source))
    return None


def _comment_lines(source: str) -> list[str]:
    return source.replace("\r", "\n").split("\n")


def _code(source: str) -> str:
    """A code cell as Python: unchanged if it parses, else with IPython's syntax as comments."""
    if is_python(source):
        return source
    # Imported lazily: nbformat takes 0.4 s of CPU, and only notebooks with magics need it.
    from jupytext.magics import comment_magic  # type: ignore[import-untyped]

    lines = source.split("\n")
    first = lines[0].lstrip()
    if first.startswith("%%") and first.split()[0] not in _PYTHON_CELL_MAGICS:
        return "\n".join(f"# {line}".rstrip() for line in _comment_lines(source))
    commented = comment_magic(list(lines), language="python")
    pairs = zip(lines, commented, strict=True)
    return "\n".join(_statement(before, after) for before, after in pairs)


def _statement(before: str, after: str) -> str:
    """Replace a commented line in a block by `pass` and the comment: a block needs a statement."""
    if before == after or not after.startswith((" ", "\t")):
        return after
    text = after.lstrip()
    return f"{after[: len(after) - len(text)]}pass  {text}"


def is_python(text: str) -> bool:
    """Whether `ast` of the running Python parses a text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the text's own: invalid escapes, `is` with a literal
        try:
            ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True
