import pytest

from snow_assets.curation.language import language_of


@pytest.mark.parametrize(
    ("path", "text", "language"),
    [
        ("a/b.py", "x = 1", "python"),
        ("lib.h", "int add(int a, int b);\n", "c"),
        ("lib.h", "namespace math {\nint add(int a, int b);\n}\n", "cpp"),
        ("lib.h", "template <typename T> T id(T x);\n", "cpp"),
        ("lib.h", "std::string name();\n", "cpp"),
        ("lib.h", "struct point { int x; };\n/* a class of things */\n", "c"),
        ("lib.cc", "int main() {}", "cpp"),
        ("bin/run", "#!/usr/bin/env python3.11\nprint(1)\n", "python"),
        ("bin/run", "#!/bin/bash -e\necho 1\n", "shell"),
        ("bin/run", "#!/usr/bin/env -S node --flag\n", "javascript"),
        ("Makefile", "all:\n", "make"),
        ("Gemfile", "gem 'x'\n", "ruby"),
        ("app_de.ts", '<?xml version="1.0"?>\n<TS>', "xml"),
        ("app.ts", "const x: number = 1;", "typescript"),
        ("README", "words", "text"),
        ("a.UNKNOWN", "words", None),
        ("LICENCE", "words", None),
        (".py", "words", None),
    ],
)
def test_a_language_is_told_by_name_shebang_or_content(
    path: str, text: str, language: str | None
) -> None:
    assert language_of(path, text) == language
