"""A notebook becomes the script of its code; what is no notebook says why."""

import ast
import json
from typing import Any

import pytest

from snow_assets.corpus.notebooks import NotebookError, as_script


def a_notebook(*cells: tuple[str, str | list[str]], language: str = "python") -> bytes:
    content: dict[str, Any] = {
        "nbformat": 4,
        "metadata": {"language_info": {"name": language}},
        "cells": [
            {"cell_type": kind, "source": source, "outputs": [{"text": "SECRET OUTPUT"}]}
            for kind, source in cells
        ],
    }
    return json.dumps(content).encode()


def test_code_and_prose_keep_their_order_and_outputs_are_left_out() -> None:
    script = as_script(
        a_notebook(("markdown", "# Title\n\ntext"), ("code", ["x = 1\n", "y = x"]), ("raw", "z"))
    )
    assert script == "# # Title\n#\n# text\n\nx = 1\ny = x\n"


def test_magics_become_comments_so_that_the_script_parses() -> None:
    cells = ("code", "%matplotlib inline\n!pip list\nx = 1"), ("code", "%%bash\nls -l | wc")
    script = as_script(a_notebook(*cells))
    assert [type(node) for node in ast.parse(script).body] == [ast.Assign]


def test_the_third_format_is_read_too() -> None:
    cells = [{"cell_type": "code", "input": ["x = 1\n"]}]
    old = json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]}).encode()
    assert as_script(old) == "x = 1\n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"not json", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[]", "no object"),
        (b"[" * 100_000, "no JSON"),
        (b'{"cells": [1, null, {"cell_type": "code", "source": 3}]}', "no code"),
        (a_notebook(("markdown", "only prose")), "no code"),
        (a_notebook(("code", "x <- 1"), language="R"), "language is r"),
    ],
)
def test_what_is_no_python_notebook_says_why(content: bytes, why: str) -> None:
    with pytest.raises(NotebookError, match=why):
        as_script(content)
