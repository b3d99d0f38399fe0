"""Taking a file out of a completion, and whether it can be one."""

from pathlib import Path

import pytest

from snow_assets.synthesis.parsing import Extraction, extract_file, syntax_error

CASES = Path(__file__).resolve().parents[1] / "cases"


def extracted(completion: str, language: str = "python", *, is_whole: bool = True) -> Extraction:
    return extract_file(completion, language=language, is_whole=is_whole)


def text_of(completion: str, language: str = "python") -> str | None:
    return extracted(completion, language).text


def case(name: str) -> str:
    return (CASES / name).read_bytes().decode()


def test_the_first_block_of_the_language_is_the_file() -> None:
    completion = "Here it is:\n```python\na = 1\n```\nAnd so on\n```python\nb = 2\n```"
    assert extracted(completion) == Extraction("a = 1\n")


def test_an_completion_that_was_cut_off_inside_its_block_is_no_file() -> None:
    assert extracted("```python\na = 1\nb =", is_whole=False).reason == "cut_off"


def test_an_completion_that_was_cut_off_after_its_block_is_a_file() -> None:
    assert extracted("```python\na = 1\n```\nThis code", is_whole=False).text == "a = 1\n"


@pytest.mark.parametrize(
    "completion",
    [
        "```javascript\nconst a = 1;\n\nThis file sets a constant.",
        "````javascript\nconst a = 1;\n```\n",  # a shorter fence closes nothing
        "~~~javascript\nconst a = 1;\n```\n",  # nor do other marks
        "```javascript\nconst a = 1;\n``` and so on",  # nor a line that goes on
    ],
)
def test_a_block_that_is_never_closed_is_no_file(completion: str) -> None:
    assert extracted(completion, "javascript").reason == "unclosed"


@pytest.mark.parametrize("completion", ["I cannot do that.", "", "```python\n\n```", "`a = 1`"])
def test_an_completion_without_a_block_has_no_file(completion: str) -> None:
    assert extracted(completion).reason == "no_code"


def test_a_shell_block_before_the_file_is_passed_over() -> None:
    text = text_of(case("60-first-block-is-shell/shell_first.md"), "javascript")
    assert text is not None
    assert text.startswith("const express")
    assert "npm" not in text
    python = text_of(case("60-first-block-is-shell/shell_first_python.md"))
    assert python is not None
    assert python.startswith("import requests")


def test_a_markup_block_before_the_file_is_passed_over() -> None:
    completion = case("60-first-block-is-shell/html_first.md")
    assert text_of(completion, "javascript") == "const items = [];\n"


def test_blocks_of_other_languages_only_are_refused_and_named() -> None:
    completion = "```bash\nnpm start\n```\n```html\n<p></p>\n```"
    refused = extracted(completion, "javascript")
    assert refused.reason == "wrong_language"
    assert refused.evidence == "blocks: bash, html; asked for: javascript"


@pytest.mark.parametrize(
    ("name", "language", "last"),
    [
        ("answer_js.md", "javascript", "module.exports = average;\n"),
        ("answer_sql.md", "sql", "SELECT title FROM book ORDER BY title;\n"),
    ],
)
def test_windows_line_ends_close_a_block_and_leave_it(name: str, language: str, last: str) -> None:
    text = text_of(case(f"61-crlf-fence/{name}"), language)
    assert text is not None
    assert text.endswith(last)
    assert "\r" not in text
    assert "`" not in text


def test_old_macintosh_line_ends_close_a_block_too() -> None:
    assert text_of("```python\ra = 1\rb = 2\r```\rDone.") == "a = 1\nb = 2\n"


@pytest.mark.parametrize(
    ("label", "language"),
    [
        ("js", "javascript"),
        ("JavaScript", "javascript"),
        ("node", "javascript"),
        ("jsx", "javascript"),
        ("{.js}", "javascript"),
        ("js title=app.js", "javascript"),
        ("js:src/app.js", "javascript"),
        ("app.js", "javascript"),
        ("ts", "typescript"),
        ("tsx", "typescript"),
        ("py", "python"),
        ("python3", "python"),
        ("Python 3", "python"),
        ("c++", "cpp"),
        ("hpp", "cpp"),
        ("h", "c"),
        ("postgresql", "sql"),
        ("sqlite", "sql"),
        ("sh", "shell"),
        ("bash", "shell"),
        ("zsh", "shell"),
        ("cs", "csharp"),
        ("c#", "csharp"),
        ("golang", "go"),
        ("rs", "rust"),
        ("kt", "kotlin"),
        ("rb", "ruby"),
    ],
)
def test_a_label_names_its_language_in_all_usual_ways(label: str, language: str) -> None:
    assert text_of(f"```{label}\nbody\n```", language) == "body\n"


@pytest.mark.parametrize(
    ("label", "language"),
    [
        ("java", "javascript"),
        ("c", "cpp"),
        ("cpp", "c"),
        ("json", "javascript"),
        ("python2", "python"),
        ("console", "shell"),
        ("text", "python"),
        ("diff", "c"),
        ("js", "typescript"),
        ("vue", "javascript"),
        ("objc", "c"),
    ],
)
def test_a_label_of_another_language_is_no_match(label: str, language: str) -> None:
    assert extracted(f"```{label}\nbody\n```", language).reason == "wrong_language"


def test_longer_fences_hold_shorter_ones() -> None:
    body = 'TEXT = """\n```\nquoted\n```\n"""\n'
    assert text_of(f"````python\n{body}````") == body


def test_tildes_are_fences_too_and_backticks_inside_do_not_close_them() -> None:
    body = "a = 1\n# ```\nb = 2\n"
    assert text_of(f"~~~~ python\n{body}~~~~~\nDone") == body


def test_a_block_inside_a_list_loses_its_indentation() -> None:
    assert (
        text_of("1. The file:\n\n   ```python\n   if a:\n       b()\n   ```") == "if a:\n    b()\n"
    )


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("<think>", "</think>"),
        ("<think>\n", "\n</think>"),
        ("<Thinking>", "</Thinking>"),
        ("<reasoning>\n", "</reasoning>"),
        ("[THINK]", "[/THINK]"),
        ("", "\n</think>\n"),
    ],
)
def test_a_draft_is_no_file(begin: str, end: str) -> None:
    draft = f"{begin}Perhaps\n```python\ndraft = 1\n```\nNo, better:{end}"
    assert text_of(f"{draft}\nHere:\n```python\nfinal = 2\n```") == "final = 2\n"


def test_a_block_that_a_draft_left_open_ends_with_the_draft() -> None:
    completion = "```python\ndraft = 1\n</think>\n```python\nfinal = 2\n```"
    assert text_of(completion) == "final = 2\n"


def test_an_completion_that_is_all_draft_has_no_file() -> None:
    assert extracted("<think>\n```python\ndraft = 1\n```\nso").reason == "no_code"


def test_a_file_about_drafts_is_a_file() -> None:
    body = 'import re\n\nDRAFT = re.compile("<think>.*?</think>")\n'
    assert text_of(f"```python\n{body}```") == body


def test_a_block_without_a_label_counts_if_it_parses() -> None:
    assert text_of("```\na = 1\n```") == "a = 1\n"
    assert text_of("```\nconst a = [1];\n```", "javascript") == "const a = [1];\n"
    assert text_of("```\nselect 1 from t;\n```", "sql") == "select 1 from t;\n"


@pytest.mark.parametrize(
    ("body", "language"),
    [
        ("pip install requests", "python"),
        ("mkdir a\ncd a\nnpm init -y", "javascript"),
        ('<ul class="a">\n</ul>', "javascript"),
        ("const a = [1;", "javascript"),
    ],
)
def test_a_block_without_a_label_that_is_of_another_language_is_refused(
    body: str, language: str
) -> None:
    assert extracted(f"```\n{body}\n```", language).reason == "wrong_language"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("def f():\n    return 1\n", "python"),
        ("int f(void) { return ')'; } /* ) */\n", "c"),
        ('const a = {b: [1, 2], c: "]"};\n', "javascript"),
        ("select count(*) from t where a = '(';\n", "sql"),
        ("template<class T> T f(T a) { return a; }\n", "cpp"),
        ('#!/bin/bash\necho "$(date)"\n', "shell"),
        ("package a\n\nfunc f() rune { return '(' }\n", "go"),
        ("class A { char f() { return '('; } }\n", "java"),
        ("<p><?php echo '('; ?></p>\n", "php"),
        ("<b><?= $name ?></b>\n", "php"),
        ('puts "#{[1, 2].map { |a| a + 1 }}"\n', "ruby"),
        ("fn f<'a>(a: &'a str) -> &'a str { a }\n", "rust"),
        ("const a: Map<string, number[]> = new Map();\n", "typescript"),
        ("const a = <number>b;\n", "typescript"),  # no TSX
        ("const a = <p>{b as string}</p>;\n", "typescript"),  # TSX alone
    ],
)
def test_whole_files_have_no_fault(text: str, language: str) -> None:
    assert syntax_error(text, language) is None


@pytest.mark.parametrize(
    ("text", "language", "told"),
    [
        ("def f(:\n", "python", "SyntaxError"),
        ("return 1\n", "python", "'return' outside function"),
        ("x = '\x00'\n", "python", "NUL"),
        ("(" * 500 + ")" * 500, "python", "too many nested parentheses"),
        ("int f(void) {\n", "c", "'{' is never closed"),
        ("select (1;\n", "sql", "'(' is never closed"),
        ("select 1);\n", "sql", "')' closes nothing"),
        ("const a = 1;\nconst b = [1, 2)};\n", "javascript", "line 2: unexpected"),
        ("const a = = 1;\n", "javascript", "line 1: unexpected '='"),
        ("package a\n\nfunc f() { return 1\n", "go", "line 4: '}' is missing"),
        ("class A { void f() { int a = ; } }\n", "java", "line 1: "),
        ("<?php\nif ($a { }\n", "php", "line 2: "),
        ("function f() { return 1; }\n", "php", "no <?php"),
        ("def f\n  1 + * 2\nend\n", "ruby", "line 1: "),
        ("fn f( { }\n", "rust", "line 1: "),
        ("interface A { b: ; }\n", "typescript", "line 1: "),
        ("a", "no such language", "no lexer"),
    ],
)
def test_a_broken_file_names_its_fault(text: str, language: str, told: str) -> None:
    assert told in (syntax_error(text, language) or "")
