"""Taking a file out of an answer, and whether it can be one."""

import pytest

from snow_assets.synthesis.parsing import fault, fenced


def test_the_first_block_is_the_file() -> None:
    answer = "Here it is:\n```python\na = 1\n```\nAnd so on\n```python\nb = 2\n```"
    assert fenced(answer, is_whole=True) == ("a = 1\n", None)


def test_an_answer_that_was_cut_off_inside_its_block_is_no_file() -> None:
    assert fenced("```python\na = 1\nb =", is_whole=False) == (None, "cut_off")


def test_an_answer_that_was_cut_off_after_its_block_is_a_file() -> None:
    assert fenced("```python\na = 1\n```\nThis code", is_whole=False) == ("a = 1\n", None)


def test_an_answer_that_stopped_at_its_closing_fence_is_a_file() -> None:
    assert fenced("```python\na = 1", is_whole=True) == ("a = 1\n", None)


@pytest.mark.parametrize("answer", ["I cannot do that.", "", "```python\n\n```", "`a = 1`"])
def test_an_answer_without_a_block_has_no_file(answer: str) -> None:
    assert fenced(answer, is_whole=True) == (None, "no_code")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("def f():\n    return 1\n", "python"),
        ("int f(void) { return ')'; } /* ) */\n", "c"),
        ('const a = {b: [1, 2], c: "]"};\n', "javascript"),
        ("select count(*) from t where a = '(';\n", "sql"),
        ("template<class T> T f(T a) { return a; }\n", "cpp"),
        ('#!/bin/bash\necho "$(date)"\n', "shell"),
    ],
)
def test_whole_files_have_no_fault(text: str, language: str) -> None:
    assert fault(text, language) is None


@pytest.mark.parametrize(
    ("text", "language", "told"),
    [
        ("def f(:\n", "python", "SyntaxError"),
        ("return 1\n", "python", "'return' outside function"),
        ("x = '\x00'\n", "python", "NUL"),
        ("(" * 500 + ")" * 500, "python", "too many nested parentheses"),
        ("int f(void) {\n", "c", "'{' is never closed"),
        ("const a = [1, 2)};\n", "javascript", "')' closes nothing"),
        ("a", "no such language", "no lexer"),
    ],
)
def test_a_broken_file_names_its_fault(text: str, language: str, told: str) -> None:
    assert told in (fault(text, language) or "")
