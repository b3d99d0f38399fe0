"""A notebook becomes the script of its code; what is no notebook says why."""

import ast
import json
from functools import partial
from typing import Any

import pytest

from snow_assets.corpus.notebooks import NotebookError, as_script
from snow_assets.corpus.untrusted import ParserFailure, parse_untrusted


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


@pytest.mark.parametrize(
    ("source", "script"),
    [
        ("!pip install \\\n    tabulate\nx = 1", "# !pip install \\\n#     tabulate\nx = 1\n"),
        ("names = !ls\nx = 1", "# names = !ls\nx = 1\n"),
        ("table = %sql select 1\nx = 1", "# table = %sql select 1\nx = 1\n"),
        ("os.path?\nx = 1", "# os.path?\nx = 1\n"),
        ("%%time\nx = 1", "# %%time\nx = 1\n"),
        ("if colab:\n    !pip install x", "if colab:\n    pass  # !pip install x\n"),
        ("y = (10\n  % 3)", "y = (10\n  % 3)\n"),
        ('text = """\n%d\n!x\n"""', 'text = """\n%d\n!x\n"""\n'),
        ("cat = 1\nls = cat", "cat = 1\nls = cat\n"),
        ("%%html\n<b>\rbold</b>", None),
    ],
)
def test_ipythons_syntax_is_commented_out_and_pythons_stays(
    source: str, script: str | None
) -> None:
    content = a_notebook(("code", source), ("code", "z = 1"))
    expected = "# %%html\n# <b>\n# bold</b>\n" if script is None else script
    assert as_script(content) == f"{expected}\nz = 1\n"


@pytest.mark.parametrize("character", ["\f", "\x0b", "\x1c", "\x85", "\u2028", "\u2029"])
def test_only_a_line_feed_ends_a_line_of_a_cell(character: str) -> None:
    source = f"text = 'first{character}second'"
    assert as_script(a_notebook(("code", source))) == f"{source}\n"
    assert character in as_script(a_notebook(("code", f"!ls\n{source}")))


def test_the_third_format_is_read_too() -> None:
    cells = [{"cell_type": "code", "language": "python", "input": ["x = 1\n"]}]
    old = json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]}).encode()
    assert as_script(old) == "x = 1\n"


@pytest.mark.parametrize(
    ("metadata", "is_read"),
    [
        ({"kernelspec": {"name": "python3", "language": "python"}}, True),
        ({"kernelspec": {"name": "python3"}}, True),
        ({"kernelspec": {"name": "my-env", "display_name": "Python 3 (ipykernel)"}}, True),
        ({"language_info": {"name": "ipython"}}, True),
        ({"kernelspec": {"name": "ir"}}, False),
        ({"kernelspec": {"name": "julia-1.9"}}, False),
        ({"kernelspec": {"name": "my-env", "display_name": "R 4.3"}}, False),
        ({"kernelspec": {"language": "R"}, "language_info": {"name": "python"}}, False),
        ({"kernelspec": {"name": 3}}, False),
        ({"kernelspec": []}, False),
        ({}, False),
        (None, False),
    ],
)
def test_a_kernel_that_is_not_stated_to_be_pythons_is_refused(
    metadata: object, is_read: bool
) -> None:
    cells = [{"cell_type": "code", "source": "x = 1"}]
    content = json.dumps({"nbformat": 4, "metadata": metadata, "cells": cells}).encode()
    if is_read:
        assert as_script(content) == "x = 1\n"
        return
    with pytest.raises(NotebookError, match="language"):
        as_script(content)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"not json", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[]", "no object"),
        (b"[" * 100_000, "no JSON"),
        (b'{"nbformat": 4, "cells": {"a": 1}}', "language"),
        (
            b'{"metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4,'
            b' "cells": [1, null, {"cell_type": "code", "source": 3}]}',
            "no code",
        ),
        (a_notebook(("code", "print 'Python 2'")), "not Python 3"),
        (a_notebook(("code", "x = (1")), "not Python 3"),
        (a_notebook(("markdown", "only prose")), "no code"),
        (a_notebook(("code", "x <- 1"), language="R"), "language is r"),
    ],
)
def test_what_is_no_python_notebook_says_why(content: bytes, why: str) -> None:
    with pytest.raises(NotebookError, match=why):
        as_script(content)


@pytest.mark.parametrize(
    "content",
    [
        b'{"cells": [' + b"1" * 5_000 + b"]}",
        a_notebook(("code", "x = '\ud800'")),
        a_notebook(("markdown", "\udfff")),
        b'{"worksheets": [3, {"cells": 4}], "cells": null, "metadata": 7}',
    ],
)
def test_whatever_a_hostile_notebook_raises_is_a_failure_with_its_reason(content: bytes) -> None:
    failure = parse_untrusted(partial(as_script, content))
    assert isinstance(failure, ParserFailure)
    assert "Error: " in failure.evidence
