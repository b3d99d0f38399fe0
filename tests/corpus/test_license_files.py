"""The nearest statement decides, by one rule in folders, archives and distributions."""

import shutil
import zipfile
from pathlib import Path

import pytest

from snow_assets.corpus import archives, folders, tables
from snow_assets.corpus.license_files import NearestStatement, is_license_file
from snow_assets.corpus.licenses import decide
from snow_assets.corpus.source_units import SourceFile, Unit
from snow_assets.recipe import PERMISSIVE_LICENSES
from tests.corpus.builders import GPL, LIMITS, MIT, a_repository, a_source, a_zip

CASES = Path(__file__).parents[1] / "cases"
LANGUAGES = ("c", "javascript", "python")
OWN_LICENSE = "The Acme Enterprise License\nYou may not copy or sell this software.\n"
DROPPED = {"license_unknown", "license_not_permissive"}


def decisions(units: list[Unit]) -> dict[str, str]:
    """Each file's licence, or the reason of its drop, by path."""
    outcomes = {}
    for unit in units:
        for received in unit.files(lambda _repository, _path: True):
            assert isinstance(received, SourceFile)
            decision = decide(received.content, received.statement, permissive=PERMISSIVE_LICENSES)
            outcomes[received.path] = str(decision.license or decision.reason)
    return outcomes


def folder_decisions(folder: Path) -> dict[str, str]:
    units = folders.units(
        a_source(folder, kind="folder"),
        languages=LANGUAGES,
        max_file_bytes=10_000,
        max_entries=100,
    )
    return decisions(list(units))


def archive_decisions(path: Path) -> dict[str, str]:
    units = archives.units([str(path)], languages=LANGUAGES, max_file_bytes=10_000, limits=LIMITS)
    return decisions(list(units))


def both_ways(tmp_path: Path, files: dict[str, str]) -> dict[str, str]:
    """What a folder and an archive of the same files decide, which must be the same."""
    a_repository(tmp_path / "code" / "r", files, license_="")
    a_zip(
        tmp_path / "r-1.0.zip", [(f"r-1.0/{name}", text.encode()) for name, text in files.items()]
    )
    by_folder = folder_decisions(tmp_path / "code")
    assert archive_decisions(tmp_path / "r-1.0.zip") == by_folder
    shutil.rmtree(tmp_path / "code")
    return by_folder


def test_case_20_an_enterprise_folder_is_not_under_the_licence_above_it() -> None:
    expected = {"core.py": "MIT", "ee/billing.py": "license_unknown"}
    assert folder_decisions(CASES / "20-enterprise-folder" / "src") == expected
    archive = CASES / "20-enterprise-folder" / "archives" / "platform-1.0.zip"
    assert archive_decisions(archive) == expected


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("22-commons-clause", {"a.py": "license_unknown"}),
        (
            "23-gpl-in-short",
            dict.fromkeys(("block.c", "control.c", "net.c"), "license_not_permissive"),
        ),
        (
            "24-two-spdx-tags",
            {
                "list.c": "license_unknown",
                "mixed.c": "license_not_permissive",
                "slash.c": "license_not_permissive",
            },
        ),
        ("27-lower-case-spdx", {"index.js": "Apache-2.0"}),
        (
            "30-licence-named-source",
            {
                "src/tool.py": "license_not_permissive",
                "src/tool.js": "MIT",
                "src/license_texts.js": "MIT",
            },
        ),
        (
            "31-right-licences",
            {"dual.c": "BSD-3-Clause", "table.js": "MIT", "index.js": "license_unknown"},
        ),
    ],
)
def test_cases_of_licences_behave_as_described(case: str, expected: dict[str, str]) -> None:
    assert folder_decisions(CASES / case / "src") == expected


def test_case_27_lower_case_keys_of_rows_are_spdx_identifiers() -> None:
    units = tables.units(
        [str(CASES / "27-lower-case-spdx" / "rows.parquet")],
        inline=False,
        languages=LANGUAGES,
        max_file_bytes=10_000,
        limits=LIMITS,
    )
    statements = {
        received.repository: decide(
            received.content, received.statement, permissive=PERMISSIVE_LICENSES
        )
        for unit in units
        for received in unit.files(lambda _repository, _path: True)
        if isinstance(received, SourceFile)
    }
    assert len(statements) > 5
    assert all(decision.license for decision in statements.values())


@pytest.mark.parametrize(
    "name",
    [
        "LICENSE",
        "LICENCE",
        "license",
        "License.txt",
        "LICENSE.md",
        "licence.rst",
        "COPYING",
        "COPYING.LESSER",
        "COPYING.LIB",
        "COPYING3",
        "COPYINGv2",
        "UNLICENSE",
        "LICENSE-MIT",
        "LICENSE_APACHE",
        "LICENSE.Apache-2.0.txt",
        "LICENSE-BUSL-1.1",
        "MIT-LICENSE.txt",
        "GPL-LICENSE",
        "LICENSE-2.0.txt",
        "LICENSE.enterprise",
        "LICENSE.pdf",
        "EULA.md",
    ],
)
def test_names_of_licence_files_follow_conventions(name: str) -> None:
    assert is_license_file(name)


@pytest.mark.parametrize(
    "name",
    [
        "license_templates.txt",
        "license_texts.js",
        "license.py",
        "licenses.json",
        "LICENSES.txt",
        "LICENSE.third-party",
        "LICENSE-3RD-PARTY.txt",
        "LICENSE_BUNDLED.txt",
        "THIRD-PARTY-LICENSES",
        "third_party_licenses.md",
        "licensing.md",
        "license-checker.txt",
        "copying_files.md",
        "my-license",
        "NOTICE",
        "LICENSE.txt.tt",
        "copyright.py",
    ],
)
def test_other_names_that_begin_so_and_notices_of_third_parties_are_no_licence(name: str) -> None:
    assert not is_license_file(name)


def test_an_unreadable_licence_ends_the_search_before_the_manifest(tmp_path: Path) -> None:
    files = {"a.py": "x = 1\n", "LICENSE": OWN_LICENSE, "package.json": '{"license": "MIT"}'}
    assert both_ways(tmp_path, files) == {"a.py": "license_unknown"}


def test_a_licence_that_is_not_permissive_ends_the_search(tmp_path: Path) -> None:
    files = {"LICENSE": MIT, "lib/COPYING": GPL, "lib/inner/a.py": "x = 1\n", "b.py": "x = 1\n"}
    assert both_ways(tmp_path, files) == {"b.py": "MIT", "lib/inner/a.py": "license_not_permissive"}


def test_a_nested_manifest_is_nearer_than_the_licence_at_the_top(tmp_path: Path) -> None:
    files = {
        "LICENSE": MIT,
        "packages/a/package.json": '{"license": "UNLICENSED"}',
        "packages/a/i.js": "1;\n",
        "packages/b/package.json": '{"license": "GPL-3.0"}',
        "packages/b/i.js": "1;\n",
        "packages/c/package.json": '{"type": "module"}',
        "packages/c/i.js": "1;\n",
        "packages/d/package.json": "{ broken",
        "packages/d/i.js": "1;\n",
    }
    assert both_ways(tmp_path, files) == {
        "packages/a/i.js": "license_unknown",
        "packages/b/i.js": "license_not_permissive",
        "packages/c/i.js": "MIT",
        "packages/d/i.js": "license_unknown",
    }


def test_a_manifest_that_contradicts_the_licence_beside_it_counts_too(tmp_path: Path) -> None:
    files = {"LICENSE": MIT, "package.json": '{"license": "GPL-3.0"}', "i.js": "1;\n"}
    assert both_ways(tmp_path, files) == {"i.js": "license_not_permissive"}


def test_third_party_notices_are_not_the_repositorys_licence(tmp_path: Path) -> None:
    files = {"a.py": "x = 1\n", "LICENSE.third-party": MIT, "ThirdPartyNotices.txt": MIT}
    assert both_ways(tmp_path, files) == {"a.py": "license_unknown"}


def test_two_licence_files_of_a_folder_both_apply(tmp_path: Path) -> None:
    files = {"a.py": "x = 1\n", "LICENSE": MIT, "COPYING": GPL}
    assert both_ways(tmp_path, files) == {"a.py": "license_not_permissive"}


@pytest.mark.parametrize(
    ("manifest", "text", "outcome"),
    [
        ("package.json", '{"license": "Apache-2.0"}', "Apache-2.0"),
        ("package.json", '{"license": {"type": "MIT", "url": "x"}}', "MIT"),
        ("package.json", '{"licenses": [{"type": "MIT"}, {"type": "GPL-2.0"}]}', "MIT"),
        ("package.json", '{"license": "(MIT OR GPL-3.0)"}', "MIT"),
        ("package.json", '{"license": "SEE LICENSE IN LICENSE.txt"}', "license_unknown"),
        ("package.json", '{"license": 5}', "license_unknown"),
        ("package.json", "[" * 100_000, "license_unknown"),
        ("package.json", '{"license": "MIT", "n": ' + "1" * 5_000 + "}", "license_unknown"),
        ("composer.json", '{"license": ["MIT", "GPL-3.0-only"]}', "MIT"),
        ("pyproject.toml", '[project]\nlicense = "MIT"\n', "MIT"),
        ("pyproject.toml", '[project]\nlicense = {text = "MIT License"}\n', "MIT"),
        ("pyproject.toml", '[project]\nlicense = {file = "LICENSE"}\n', "license_unknown"),
        ("pyproject.toml", '[tool.poetry]\nlicense = "Apache-2.0"\n', "Apache-2.0"),
        ("pyproject.toml", '[tool.poetry]\nlicense = "Proprietary"\n', "license_not_permissive"),
        (
            "pyproject.toml",
            '[project]\nclassifiers = ["License :: OSI Approved :: MIT License"]\n',
            "MIT",
        ),
        ("Cargo.toml", '[package]\nlicense = "MIT/Apache-2.0"\n', "MIT"),
        ("Cargo.toml", '[package]\nlicense = "MIT/GPL-3.0"\n', "MIT"),
        ("Cargo.toml", '[package]\nlicense-file = "MYLICENSE"\n', "license_unknown"),
        ("PKG-INFO", "License-Expression: MIT\n", "MIT"),
        ("PKG-INFO", "License-Expression: LicenseRef-Own\n", "license_unknown"),
        (
            "PKG-INFO",
            "Classifier: License :: Other/Proprietary License\n",
            "license_not_permissive",
        ),
    ],
)
def test_manifests_state_licences_in_the_forms_of_their_ecosystems(
    manifest: str, text: str, outcome: str, tmp_path: Path
) -> None:
    assert both_ways(tmp_path, {manifest: text, "a.py": "x = 1\n"}) == {"a.py": outcome}


def test_a_cargo_member_inherits_the_licence_of_its_workspace(tmp_path: Path) -> None:
    files = {
        "Cargo.toml": '[workspace]\n[workspace.package]\nlicense = "MIT OR Apache-2.0"\n',
        "crates/a/Cargo.toml": "[package]\nlicense.workspace = true\n",
        "crates/a/build.py": "x = 1\n",
        "crates/b/Cargo.toml": "[package]\nlicense = { workspace = true }\n",
        "crates/b/build.py": "x = 1\n",
        "crates/c/Cargo.toml": '[package]\nlicense = "AGPL-3.0-only"\n',
        "crates/c/build.py": "x = 1\n",
    }
    assert both_ways(tmp_path, files) == {
        "crates/a/build.py": "MIT",
        "crates/b/build.py": "MIT",
        "crates/c/build.py": "license_not_permissive",
    }


def test_reuse_states_licences_by_folder_sidecar_and_table(tmp_path: Path) -> None:
    files = {
        "LICENSES/MIT.txt": MIT,
        "LICENSES/LicenseRef-Own.txt": OWN_LICENSE,
        "plain.py": "x = 1\n",
        "beside.py": "x = 1\n",
        "beside.py.license": "SPDX-License-Identifier: MIT\n",
        "copyleft.py": "x = 1\n",
        "copyleft.py.license": "SPDX-License-Identifier: GPL-3.0-only\n",
        "src/a.py": "x = 1\n",
        "src/deep/b.py": "x = 1\n",
        "REUSE.toml": 'version = 1\n[[annotations]]\npath = "src/**"\n'
        'SPDX-License-Identifier = "MIT"\n[[annotations]]\npath = ["src/deep/*.py"]\n'
        'SPDX-License-Identifier = ["MIT", "GPL-3.0-only"]\n',
    }
    assert both_ways(tmp_path, files) == {
        "plain.py": "license_unknown",
        "beside.py": "MIT",
        "copyleft.py": "license_not_permissive",
        "src/a.py": "MIT",
        "src/deep/b.py": "license_not_permissive",
    }


def test_a_table_of_reuse_that_overrides_is_added_to_the_header(tmp_path: Path) -> None:
    files = {
        "LICENSE": MIT,
        "a.py": "# SPDX-License-Identifier: MIT\n",
        "REUSE.toml": '[[annotations]]\npath = "a.py"\nprecedence = "override"\n'
        'SPDX-License-Identifier = "GPL-3.0-only"\n',
    }
    assert both_ways(tmp_path, files) == {"a.py": "license_not_permissive"}


def test_a_broken_table_of_reuse_is_unreadable(tmp_path: Path) -> None:
    files = {"LICENSE": MIT, "a.py": "x = 1\n", "REUSE.toml": "[[annotations"}
    assert both_ways(tmp_path, files) == {"a.py": "license_unknown"}


def test_a_link_to_a_licence_is_followed_within_its_repository_only(tmp_path: Path) -> None:
    inside = a_repository(tmp_path / "code" / "inside", {"lib/a.py": "x = 1\n"})
    (inside / "lib" / "LICENSE").symlink_to("../LICENSE")
    outside = a_repository(tmp_path / "code" / "outside", {"b.py": "x = 1\n"}, license_="")
    (outside / "LICENSE").symlink_to("../inside/LICENSE")
    assert folder_decisions(tmp_path / "code") == {"lib/a.py": "MIT", "b.py": "license_unknown"}


def test_an_archives_link_in_the_place_of_a_licence_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "r-1.0.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("r/LICENSE", MIT)
        archive.writestr("r/lib/a.py", "x = 1\n")
        link = zipfile.ZipInfo("r/lib/LICENSE")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "../LICENSE")
    assert archive_decisions(path) == {"lib/a.py": "license_unknown"}


def test_a_wheels_dist_info_speaks_for_the_whole(tmp_path: Path) -> None:
    path = a_zip(
        tmp_path / "r-1.0-py3-none-any.whl",
        [
            ("r/a.py", b"x = 1\n"),
            ("r-1.0.dist-info/METADATA", b"Name: r\nLicense-Expression: MIT\n"),
            ("r-1.0.dist-info/licenses/LICENSE", MIT.encode()),
            ("r-1.0.dist-info/licenses/vendor/LICENSE", GPL.encode()),
        ],
    )
    assert archive_decisions(path) == {"r/a.py": "MIT"}


def test_each_folder_is_read_once() -> None:
    reads: list[str] = []

    def read_folder(folder: str) -> dict[str, str | None]:
        reads.append(folder)
        return {"LICENSE": MIT} if not folder else {}

    nearest = NearestStatement(read_folder)
    for number in range(50):
        assert nearest.of(f"a/b/{number}.py").expression == "MIT"
    assert sorted(reads) == ["", "a", "a/b"]
