"""SPDX expressions: what is permitted, what is no expression, and bounded time for any text."""

import random
import time

import pytest

from snow_assets.corpus.license_statements import Statement
from snow_assets.corpus.licenses import decide, normalize_license_name
from snow_assets.corpus.spdx import (
    MAX_EXPRESSION_CHARS,
    UnreadableExpressionError,
    is_spdx,
    permitted_licenses,
)

ALLOWED = ("Apache-2.0", "BSD-3-Clause", "ISC", "MIT")


@pytest.mark.parametrize(
    ("expression", "licenses"),
    [
        ("mit", ["MIT"]),
        ("bsd-3-clause or gpl-2.0", ["BSD-3-Clause"]),
        ("apache-2.0+", ["Apache-2.0"]),
        ("Apache-2.0 WITH LLVM-exception", ["Apache-2.0"]),
        ("(MIT OR GPL-2.0-only) AND ISC", ["ISC", "MIT"]),
        ("MIT OR GPL-2.0-only WITH Classpath-exception-2.0", ["MIT"]),
    ],
)
def test_a_permitted_alternative_is_chosen(expression: str, licenses: list[str]) -> None:
    assert permitted_licenses(expression, ALLOWED) == licenses


@pytest.mark.parametrize(
    "expression",
    [
        "GPL-2.0+",
        "GPL-2.0-only WITH Classpath-exception-2.0",
        "MIT WITH Commons-Clause",
        "Apache-2.0 WITH no-such-exception",
        "(MIT OR GPL-2.0-only) AND GPL-2.0-only",
        "LicenseRef-MIT-Bootstrap",
        "Proprietary",
    ],
)
def test_what_has_no_permitted_alternative_is_not_permitted(expression: str) -> None:
    assert permitted_licenses(expression, ALLOWED) is None


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "()",
        ")",
        "AND",
        "MIT AND",
        "(MIT",
        "MIT ISC",
        "see web",
        "MIT, ISC",
        "NOASSERTION",
        "MIT" + " " * MAX_EXPRESSION_CHARS,
    ],
)
def test_what_is_no_expression_is_refused_by_one_error(expression: str) -> None:
    with pytest.raises(UnreadableExpressionError):
        permitted_licenses(expression, ALLOWED)
    assert not is_spdx(expression)


@pytest.mark.parametrize(
    "expression",
    [
        " AND ".join(["(MIT OR ISC)"] * 220),
        " AND ".join(["(MIT OR ISC)"] * 60),
        "(" * 1_200 + "MIT" + ")" * 1_200,
        "(" * 400 + "MIT" + ")" * 400,
        "(MIT OR (ISC AND " * 58 + "MIT" + "))" * 58,
        "MIT " + "WITH LLVM-exception " * 45,
    ],
)
def test_a_crafted_header_is_decided_in_bounded_time(expression: str) -> None:
    content = f"# SPDX-License-Identifier: {expression}\nx = 1\n".encode()
    begin = time.process_time()
    decision = decide(content, Statement("MIT", "LICENSE"), permissive=ALLOWED)
    assert time.process_time() - begin < 2
    assert decision.license or decision.reason


def test_no_text_raises_anything_but_the_one_error() -> None:
    rng = random.Random(5)
    parts = [
        "MIT",
        "(",
        ")",
        "AND",
        "OR",
        "WITH",
        "LLVM-exception",
        "+",
        "-",
        "é",
        "\n",
        "gpl-2.0",
        "\0",
        "/",
        ",",
        ".",
        ":",
        "LicenseRef-",
        "\ud800",
    ]
    for _ in range(2_000):
        expression = " ".join(rng.choices(parts, k=rng.randint(0, 12)))
        try:
            permitted_licenses(expression, ALLOWED)
        except UnreadableExpressionError:
            assert not is_spdx(expression)


@pytest.mark.parametrize(
    ("name", "expression"),
    [
        ("MIT", "MIT"),
        ("apache-2.0", "apache-2.0"),
        ("The MIT License", "MIT"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("MIT/Apache-2.0", "(MIT) AND (Apache-2.0)"),
        ("MIT / Apache 2.0", "(MIT) AND (Apache-2.0)"),
        ("Proprietary", "LicenseRef-Proprietary"),
        ("SEE LICENSE IN EULA.md", None),
        ("UNLICENSED", None),
        ("BSD", None),
        ("MIT, and more", None),
        ("/", None),
    ],
)
def test_names_of_metadata_are_spelled_as_spdx_or_unknown(
    name: str, expression: str | None
) -> None:
    assert normalize_license_name(name) == expression


def test_a_slash_is_an_alternative_only_where_the_manifest_says_so() -> None:
    assert normalize_license_name("MIT/GPL-3.0-only", slash="OR") == "(MIT) OR (GPL-3.0-only)"
    assert permitted_licenses(str(normalize_license_name("MIT/GPL-3.0-only")), ALLOWED) is None
