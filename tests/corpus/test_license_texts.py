"""A known licence text must cover the whole file: an added condition makes it unreadable."""

from importlib.resources import files

import pytest

from snow_assets.corpus.license_texts import read_license_text
from snow_assets.corpus.licenses import distribution_statement, parse_license_text
from snow_assets.recipe import PERMISSIVE_LICENSES
from tests.corpus.builders import GPL, MIT

BSD = (files("snow_assets.corpus") / "license_texts" / "BSD-3-Clause.txt").read_text("utf-8")

CONDITIONS = {
    "Commons Clause": '"Commons Clause" License Condition v1.0\n\nThe Software is provided to you '
    "by the Licensor under the License, as defined below, subject to the following condition.\n"
    "Without limiting other conditions in the License, the grant of rights under the License will "
    "not include, and the License does not grant to you, the right to Sell the Software.",
    "JSON": "The Software shall be used for Good, not Evil.",
    "non-commercial": "This software may not be used for commercial purposes.",
    "non-commercial, short": "Non-commercial use only.",
    "research": "For academic and research use only.",
    "field of use": "Use in the operation of nuclear facilities is prohibited.",
    "military": "The Software must not be used by any military organisation.",
    "ethical": "The Software may not be used by individuals, corporations or governments that "
    "violate the Universal Declaration of Human Rights.",
    "competition": "You may not provide the software to third parties as a hosted or managed "
    "service.",
    "model training": "The Software may not be used to train machine learning models.",
    "fee": "Companies with more than 100 employees must purchase a subscription.",
    "names only": "Vegans only.",
    "revocable": "The author can revoke this grant at any time.",
    "GPL in a line": "Released under the GPL version 2 or later.",
    "GPL, short": "This project is licensed GPLv3+.",
    "MPL in a line": "is licensed under the MPL 2.0",
    "another licence": "License: Same license as vim",
    "a custom licence": "Available under a custom version of the license.",
    "Chinese": "禁止商业用途。",
    "Cyrillic": "Только для учёбы.",
    "behind a notice": "Copyright 2020 X. This software may only be used for teaching.",
    "split paths": "Content in the ee/ directory is under the license in ee/LICENSE.",
}


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS.keys())
@pytest.mark.parametrize("text", [MIT, BSD], ids=["MIT", "BSD"])
@pytest.mark.parametrize("is_first", [False, True])
def test_an_added_condition_makes_a_permissive_text_unreadable(
    text: str, condition: str, is_first: bool
) -> None:
    parts = [condition, text] if is_first else [text, condition]
    statement = parse_license_text("\n\n".join(parts), "LICENSE")
    assert statement.expression is None
    assert "more that it does not say" in statement.evidence


def test_a_grant_that_lacks_rights_is_not_the_known_one() -> None:
    text = MIT.replace("distribute, sublicense, and/or sell\ncopies", "and distribute\ncopies")
    assert text != MIT
    assert parse_license_text(text, "LICENSE").expression is None


def test_a_permission_that_is_negated_is_not_the_known_one() -> None:
    text = BSD.replace("are permitted provided", "are not permitted provided")
    assert parse_license_text(text, "LICENSE").expression is None


@pytest.mark.parametrize("name", PERMISSIVE_LICENSES)
def test_every_permissive_text_of_spdx_covers_itself(name: str) -> None:
    text = (files("snow_assets.corpus") / "license_texts" / f"{name}.txt").read_text("utf-8")
    reading = read_license_text(text)
    assert (reading.licenses, reading.uncovered) == ((name,), None)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "Copyright (c) 2011-2024, Jane Doe <jane@example.org> and others.\n" + text,
        lambda text: "# The MIT License\n\n> " + text.replace("\n", "\n> "),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: " ".join(text.split()),
        lambda text: text.replace('"', "``").replace("MIT License", "The MIT License (MIT)"),
        lambda text: text.replace("MIT License", "<h1>MIT License</h1>"),
        lambda text: text + "\nSee https://opensource.org/licenses/MIT\n",
        lambda text: "/*\n * " + text.replace("\n", "\n * ") + "\n */",
        lambda text: "SPDX-License-Identifier: MIT\n" + text,
        lambda text: "Copyright (c) 2020 \u674e\u5c0f\u9f99 \u300aexample\u300b\n" + text,
        lambda text: "Copyright (c) Acme Research Services Limited. All rights reserved.\n" + text,
    ],
    ids=[
        "holders",
        "markdown",
        "crlf",
        "one line",
        "quotes",
        "html",
        "address",
        "comment",
        "spdx",
        "Chinese holder",
        "company",
    ],
)
def test_notices_headings_and_wrapping_change_nothing(change: object) -> None:
    assert parse_license_text(change(MIT), "LICENSE").expression == "MIT"  # type: ignore[operator]


def test_licence_texts_are_told_apart() -> None:
    folder = files("snow_assets.corpus") / "license_texts"
    two_clauses = (folder / "BSD-2-Clause.txt").read_text("utf-8")
    isc = (folder / "ISC.txt").read_text("utf-8")
    advertising = BSD.replace(
        "3. Neither", "3. All advertising materials mentioning features\n4. Neither"
    )
    texts = {
        MIT: "MIT",
        GPL: "GPL-3.0-only",
        two_clauses: "BSD-2-Clause",
        BSD: "BSD-3-Clause",
        isc: "ISC",
        "Apache License\n  Version 2.0, January 2004\n": "Apache-2.0",
        "Do what you like.": None,
        "": None,
    }
    for text, name in texts.items():
        assert parse_license_text(text, "LICENSE").expression == name, text
    assert read_license_text(advertising).licenses == ("BSD-4-Clause",)


def test_a_text_with_two_licences_states_both() -> None:
    assert parse_license_text(MIT + BSD, "LICENSE").expression == "MIT AND BSD-3-Clause"
    assert parse_license_text(MIT + GPL, "LICENSE").expression == "MIT AND GPL-3.0-only"


def test_the_copyright_notices_of_a_licence_travel_with_its_statement() -> None:
    text = "Copyright (c) 2011-2014 Jane Doe\nCopyright \u00a9 2020 Acme, Inc.\n" + MIT
    notices = (
        "Copyright (c) 2011-2014 Jane Doe",
        "Copyright \u00a9 2020 Acme, Inc.",
        "Copyright (c) 2024 A. Author",
    )
    assert parse_license_text(text, "LICENSE").notices == notices
    by_author = distribution_statement(
        expression="MIT", field=None, classifiers=[], where="metadata", texts={"LICENSE": text}
    )
    assert by_author.notices == notices


def test_an_added_condition_overrules_an_authors_expression() -> None:
    statement = distribution_statement(
        expression="MIT",
        field=None,
        classifiers=[],
        where="metadata",
        texts={"LICENSE": MIT + CONDITIONS["Commons Clause"]},
    )
    assert statement.expression is None
