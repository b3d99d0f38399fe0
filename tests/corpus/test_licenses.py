"""The nearest statement decides; what cannot be read, or is off the list, is dropped."""

import pytest

from snow_assets.corpus import licenses
from snow_assets.corpus.licenses import (
    Statement,
    decide,
    distribution_statement,
    parse_license_text,
)
from snow_assets.recipe import PERMISSIVE_LICENSES
from tests.corpus.builders import GPL, MIT

ALLOWED = ("Apache-2.0", "BSD-3-Clause", "MIT")


def verdict(expression: str | None, content: bytes = b"x = 1\n") -> tuple[str | None, str | None]:
    made = decide(content, Statement(expression, "test"), permissive=ALLOWED)
    return made.license, made.reason


@pytest.mark.parametrize(
    ("expression", "license_"),
    [
        ("MIT", "MIT"),
        ("mit", "MIT"),
        ("MIT OR GPL-3.0-only", "MIT"),
        ("GPL-3.0-only OR (MIT AND Apache-2.0)", "Apache-2.0 AND MIT"),
        ("Apache-2.0 WITH LLVM-exception", "Apache-2.0"),
        ("MIT AND Apache-2.0", "Apache-2.0 AND MIT"),
    ],
)
def test_a_permitted_expression_is_recorded_as_the_licences_that_apply(
    expression: str, license_: str
) -> None:
    assert verdict(expression) == (license_, None)
    assert licenses.is_permitted(license_, ALLOWED)


@pytest.mark.parametrize("expression", ["GPL-3.0-only", "MIT AND MPL-2.0", "ISC", "Proprietary"])
def test_a_licence_off_the_list_is_dropped_with_its_name(expression: str) -> None:
    assert verdict(expression) == (None, "license_not_permissive")


@pytest.mark.parametrize("expression", [None, "", "MIT AND", "(MIT", "MIT Apache-2.0", "see web"])
def test_no_licence_that_can_be_read_is_unknown(expression: str | None) -> None:
    assert verdict(expression) == (None, "license_unknown")


def test_a_files_own_header_overrules_its_repository_both_ways() -> None:
    assert verdict("GPL-3.0-only", b"# SPDX-License-Identifier: MIT\n") == ("MIT", None)
    assert verdict("MIT", b"/* SPDX-License-Identifier: GPL-2.0 */\n") == (
        None,
        "license_not_permissive",
    )


def test_a_header_that_grants_under_the_gpl_overrules_a_permissive_repository() -> None:
    header = (
        b"/* You can redistribute it under the terms of\n * the GNU General Public License */\n"
    )
    assert verdict("MIT", header) == (None, "license_not_permissive")


def test_a_header_far_down_in_a_file_is_not_one() -> None:
    assert verdict("MIT", b"x = 1\n" * 2_000 + b"# SPDX-License-Identifier: GPL-2.0\n")[0] == "MIT"


def test_licence_texts_are_told_apart() -> None:
    bsd = (
        "Redistribution and use in source and binary forms, with or without\n"
        "modification, are permitted provided that ..."
    )
    isc = (
        "Permission to use, copy, modify, and/or distribute this software for any purpose\n"
        "with or without fee is hereby granted"
    )
    texts = {
        MIT: "MIT",
        GPL: "GPL-3.0-only",
        bsd: "BSD-2-Clause",
        f"{bsd} Neither the name of the author": "BSD-3-Clause",
        f"{bsd} All advertising materials mentioning": "BSD-4-Clause",
        f"{isc}, provided that the above copyright notice": "ISC",
        f"{isc}.": "0BSD",
        "Apache License\n  Version 2.0, January 2004\n": "Apache-2.0",
        "Do what you like.": None,
    }
    for text, name in texts.items():
        assert parse_license_text(text, "LICENSE").expression == name, text


def test_a_text_with_two_licences_states_both() -> None:
    assert parse_license_text(MIT + GPL, "LICENSE").expression == "MIT AND GPL-3.0-only"


def by_author(**given: object) -> str | None:
    fields: dict[str, object] = {
        "expression": None,
        "field": None,
        "classifiers": [],
        "texts": {},
        "where": "metadata",
        **given,
    }
    return distribution_statement(**fields).expression  # type: ignore[arg-type]


def test_an_spdx_expression_in_metadata_decides() -> None:
    assert by_author(expression="MIT OR Apache-2.0", texts={"LICENSE": GPL}) == "MIT OR Apache-2.0"
    assert by_author(field="MPL-2.0 AND MIT", texts={"LICENSE": MIT}) == "MPL-2.0 AND MIT"


def test_a_bundled_librarys_licence_counts_only_where_the_metadata_does_not_speak() -> None:
    bundled = {"LICENSE": MIT + GPL}
    classifiers = ["License :: OSI Approved :: MIT License"]
    assert by_author(classifiers=classifiers, texts=bundled) == "MIT"
    assert by_author(texts=bundled) == "MIT AND GPL-3.0-only"


def test_metadata_that_contradicts_its_licence_text_means_both() -> None:
    assert by_author(field="GPLv3", texts={"LICENSE": MIT}) == "MIT AND GPL-3.0-only"


def test_a_bare_bsd_is_unknown_without_its_text() -> None:
    assert by_author(field="BSD") is None
    assert by_author(field="Dual License") is None


def test_the_recipes_allow_list_names_no_copyleft() -> None:
    assert not [name for name in PERMISSIVE_LICENSES if "GPL" in name or "MPL" in name]
