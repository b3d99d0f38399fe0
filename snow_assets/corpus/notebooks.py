"""A Jupyter notebook as the script that its code cells make, prose as comments."""

import json
from typing import Any


class NotebookError(ValueError):
    """The bytes are no notebook that can be made a script; the message says why."""


def is_notebook(path: str) -> bool:
    return path.lower().endswith(".ipynb")


def as_script(content: bytes) -> str:
    """Code cells in order, markdown as comments, outputs left out, magics commented out.

    Reads formats 3 and 4 (nbformat.readthedocs.io). NotebookError if it is neither, if its kernel
    is not Python's, or if it has no code.
    """
    try:
        notebook = json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise NotebookError(f"no JSON: {error}") from error
    if not isinstance(notebook, dict):
        raise NotebookError("JSON, but no object")
    language = _language(notebook)
    if language != "python":
        raise NotebookError(f"its language is {language}, not python")
    parts = [part for cell in _cells(notebook) if (part := _part(cell))]
    if not any(is_code for is_code, _ in parts):
        raise NotebookError("it has no code")
    return "\n\n".join(text for _, text in parts) + "\n"


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata")
    stated = metadata if isinstance(metadata, dict) else {}
    for part, key in (("language_info", "name"), ("kernelspec", "language")):
        inner = stated.get(part)
        if isinstance(inner, dict) and isinstance(inner.get(key), str):
            return str(inner[key]).lower()
    return "python"  # format 3 had no other kernel


def _cells(notebook: dict[str, Any]) -> list[Any]:
    sheets = notebook.get("worksheets")
    if isinstance(sheets, list):
        return [
            cell for sheet in sheets if isinstance(sheet, dict) for cell in sheet.get("cells") or []
        ]
    cells = notebook.get("cells")
    return cells if isinstance(cells, list) else []


def _part(cell: Any) -> tuple[bool, str] | None:
    """Whether the cell is code, and its text; None for an empty or unknown cell."""
    if not isinstance(cell, dict):
        return None
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    if not isinstance(source, str) or not source.strip():
        return None
    lines = source.strip("\n").splitlines()
    if cell.get("cell_type") == "code":
        # Cell magics may start another language: the whole cell is then no Python.
        whole = lines[0].lstrip().startswith("%%")
        return True, "\n".join(_line(line, whole) for line in lines)
    if cell.get("cell_type") in {"markdown", "heading"}:
        return False, "\n".join(f"# {line}".rstrip() for line in lines)
    return None


def _line(line: str, is_foreign: bool) -> str:
    magic = line.lstrip().startswith(("%", "!"))
    return f"# {line}" if is_foreign or magic else line
