"""Archives are streamed, never extracted, and what is hostile in them is refused by name."""

import gzip
import io
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from snow_assets.corpus import archives
from snow_assets.corpus.ingest import Gate, ingest
from snow_assets.corpus.repository_names import parse_repository
from snow_assets.corpus.source_units import Refusal, SourceFile
from snow_assets.corpus.untrusted import StorageError
from tests.corpus.builders import LIMITS, MIT, a_recipe, a_source, a_tar, a_zip

GOOD = b"def f():\n    return 1\n"
EXAMPLES = int(os.environ.get("SNOW_FUZZ_EXAMPLES", "25"))
MEMBERS = {f"package/module{number}.py": GOOD * (number + 1) for number in range(5)}
# Bytes of an archive that are others, by their place in it; and where it ends, in its own length.
DAMAGE = st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=5)
ENDS = st.one_of(st.just(1.0), st.floats(0, 1))


def damaged(path: Path, damage: list[tuple[float, int]], end: float) -> None:
    content = bytearray(path.read_bytes())
    for place, value in damage:
        content[int(place * len(content))] = value
    path.write_bytes(content[: int(end * len(content))])


def read(path: Path) -> tuple[dict[str, SourceFile], dict[str, str]]:
    """What an archive gives: files by path, and the reasons of refusals by path."""
    units = archives.units([str(path)], languages=("python",), max_file_bytes=20_000, limits=LIMITS)
    files: dict[str, SourceFile] = {}
    refusals: dict[str, str] = {}
    for unit in units:
        for received in unit.files(lambda _repository, _path: True):
            if isinstance(received, Refusal):
                refusals[received.path] = received.reason
            else:
                files[received.path] = received
    return files, refusals


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("make", [a_tar, a_zip])
@pytest.mark.parametrize("name", ["../evil.py", "a/../../evil.py", "/etc/evil.py", "C:\\evil.py"])
def test_a_name_that_leaves_the_archive_is_refused_and_the_rest_is_read(
    make: Callable[..., Path], name: str, tmp_path: Path
) -> None:
    suffix = "tar.gz" if make is a_tar else "zip"
    path = make(tmp_path / f"foo-1.0.{suffix}", [(name, GOOD), ("ok.py", GOOD), ("a.txt", b"")])
    files, refusals = read(path)
    assert list(files) == ["ok.py"]
    assert refusals == {name: "unsafe_path"}
    assert sorted(tmp_path.iterdir()) == [path], "nothing is ever extracted"


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    member = special("leak.py", kind, "/etc/passwd")
    files, refusals = read(a_tar(tmp_path / "foo-1.0.tar.gz", [(member, b""), ("ok.py", GOOD)]))
    assert list(files) == ["ok.py"]
    assert refusals == {"leak.py": "link"}


def test_a_symlink_in_a_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foo.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("leak.py")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert read(path) == ({}, {"leak.py": "link"})


@pytest.mark.parametrize("make", [a_tar, a_zip])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_occurs_twice_is_refused_both_times(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / ("foo.tar.gz" if make is a_tar else "foo.zip")
    files, refusals = read(make(path, [("a.py", GOOD), ("./a.py", b"other"), ("b.py", GOOD)]))
    assert list(files) == ["b.py"]
    assert set(refusals.values()) == {"duplicate_name"}


@pytest.mark.parametrize("make", [a_tar, a_zip])
def test_a_bomb_is_refused_as_a_whole(make: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / ("foo.tar.gz" if make is a_tar else "foo.zip")
    bomb = [("ok.py", GOOD), ("bomb.py", b"0" * (LIMITS.max_bytes - 1_000))]
    assert read(make(path, bomb)) == ({}, {"": "archive_bomb"})
    path.unlink()
    larger = [("bomb.py", b"0" * (LIMITS.max_bytes + 1))]
    assert read(make(path, larger)) == ({}, {"": "archive_too_large"})


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_bomb_in_a_header_is_refused_before_it_is_read(kind: bytes, tmp_path: Path) -> None:
    path, info = tmp_path / "foo.tar.gz", special("bomb", kind)
    info.size = 500 << 30  # no such bytes follow: reading them would end in another error
    with gzip.open(path, "wb") as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
    (unit,) = archives.units([str(path)], languages=("python",), max_file_bytes=1, limits=LIMITS)
    (refusal,) = unit.files(lambda _repository, _path: True)
    assert isinstance(refusal, Refusal)
    assert refusal.evidence is not None
    assert "a header claims" in refusal.evidence


def test_too_many_members_are_refused_as_a_whole(tmp_path: Path) -> None:
    members = [(f"{n}.py", GOOD) for n in range(LIMITS.max_members + 1)]
    assert read(a_tar(tmp_path / "foo.tar.gz", members)) == ({}, {"": "archive_too_many"})


def test_deep_long_and_unprintable_names_are_refused(tmp_path: Path) -> None:
    deep, long = "a/" * LIMITS.max_depth + "x.py", "x" * LIMITS.max_name_bytes + ".py"
    members = [(deep, GOOD), (long, GOOD), ("a\x1b[2J.py", GOOD), ("ok.py", GOOD)]
    files, refusals = read(a_tar(tmp_path / "foo.tar.gz", members))
    assert list(files) == ["ok.py"]
    assert refusals == {deep: "unsafe_path", long: "unsafe_name", "a\\x1b[2J.py": "unsafe_name"}


def test_a_name_that_is_no_utf8_is_refused_and_shown_escaped(tmp_path: Path) -> None:
    name = b"caf\xe9.py".decode("utf-8", "surrogateescape")
    path = tmp_path / "foo.tar.gz"
    with tarfile.open(path, "w:gz", format=tarfile.GNU_FORMAT, errors="surrogateescape") as archive:
        info = tarfile.TarInfo(name)
        archive.addfile(info)
    files, refusals = read(path)
    assert not files
    assert refusals == {"caf\\udce9.py": "unsafe_name"}


def test_a_zip_name_with_a_nul_is_judged_as_it_stands_there(tmp_path: Path) -> None:
    path = a_zip(tmp_path / "foo.zip", [("evilX.py", GOOD)])
    path.write_bytes(path.read_bytes().replace(b"evilX.py", b"evil\0.py"))
    files, refusals = read(path)
    assert not files
    assert set(refusals.values()) == {"unsafe_name"}


@pytest.mark.parametrize("content", [b"", b"no archive at all", b"\x1f\x8b\x08\0broken"])
def test_bytes_that_are_no_archive_are_refused_with_the_error(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "foo.tar.gz"
    path.write_bytes(content)
    assert read(path) == ({}, {"": "archive_broken"})


def test_a_cut_off_archive_is_refused_as_a_whole(tmp_path: Path) -> None:
    noise = bytes(range(256)) * 40
    path = a_tar(tmp_path / "foo.tar.gz", [("a.py", GOOD), ("b.py", noise), ("c.py", noise)])
    path.write_bytes(path.read_bytes()[:-200])
    assert read(path) == ({}, {"": "archive_broken"})


@pytest.mark.parametrize(("place", "value"), [(10, 99), (8, 1)])
def test_a_zip_member_that_cannot_be_unpacked_is_refused_by_itself(
    place: int, value: int, tmp_path: Path
) -> None:
    """Compression 99 is unknown; flag 1 says that it is encrypted."""
    path = a_zip(tmp_path / "foo-1.0.zip", [("a.py", GOOD), ("b.py", GOOD)])
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\x01\x02")
    content[central + place], content[place - 2] = value, value
    path.write_bytes(content)
    files, refusals = read(path)
    assert list(files) == ["b.py"]
    assert refusals == {"a.py": "broken_member"}


@pytest.mark.parametrize("suffix", ["tar.gz", "zip"])
def test_an_archive_that_is_gone_is_an_error_and_no_refusal(suffix: str, tmp_path: Path) -> None:
    path = (a_zip if suffix == "zip" else a_tar)(tmp_path / f"foo.{suffix}", [("a.py", GOOD)])
    (unit,) = archives.units(
        [str(path)], languages=("python",), max_file_bytes=20_000, limits=LIMITS
    )
    path.unlink()
    with pytest.raises(StorageError, match=r"FileNotFoundError.*materialize again"):
        list(unit.files(lambda _repository, _path: True))


def test_an_archive_whose_reading_fails_is_an_error_and_no_refusal(tmp_path: Path) -> None:
    path = tmp_path / "foo.tar"
    path.symlink_to("/proc/self/mem")  # reading its first page fails with EIO
    with pytest.raises(StorageError, match="cannot be read"):
        read(path)


def test_a_file_over_the_limit_is_refused_by_itself(tmp_path: Path) -> None:
    path = a_tar(tmp_path / "foo.tar.gz", [("big.py", b"x = 1\n" * 4_000), ("ok.py", GOOD)])
    files, refusals = read(path)
    assert (list(files), refusals) == (["ok.py"], {"big.py": "too_large"})


def test_name_version_and_nearest_licence_come_from_the_archive(tmp_path: Path) -> None:
    members = [
        ("foo_bar-1.2/LICENSE", MIT.encode()),
        ("foo_bar-1.2/a.py", GOOD),
        ("foo_bar-1.2/vendored/LICENSE", b"Apache License Version 2.0, January 2004"),
        ("foo_bar-1.2/vendored/b.py", GOOD),
    ]
    files, _ = read(a_tar(tmp_path / "foo_bar-1.2.tar.gz", members))
    assert {path: file.statement.expression for path, file in files.items()} == {
        "a.py": "MIT",
        "vendored/b.py": "Apache-2.0",
    }
    assert {(file.repository, file.revision) for file in files.values()} == {("foo_bar", "1.2")}


def test_a_wheel_states_its_licence_in_its_metadata(tmp_path: Path) -> None:
    metadata = b"Metadata-Version: 2.4\nName: foo\nVersion: 1.0\nLicense-Expression: MIT\n\n"
    members = [("foo/a.py", GOOD), ("foo-1.0.dist-info/METADATA", metadata)]
    files, _ = read(a_zip(tmp_path / "foo-1.0-py3-none-any.whl", members))
    assert files["foo/a.py"].statement.expression == "MIT"


def test_an_npm_package_states_its_licence_in_its_manifest(tmp_path: Path) -> None:
    members = [("package/package.json", b'{"license": "MIT"}'), ("package/a.py", GOOD)]
    files, _ = read(a_tar(tmp_path / "left-pad-1.3.0.tgz", members))
    assert files["a.py"].statement.expression == "MIT"
    assert files["a.py"].revision == "1.3.0"


@settings(max_examples=EXAMPLES, deadline=None)
@given(DAMAGE, ENDS, st.sampled_from(["tar", "tar.gz"]))
@example([], 0.015625, "tar.gz")  # within the gzip header
@example([(0.875, 0), (0.83984375, 102)], 1.0, "tar.gz")  # decodes, as an archive of fewer members
def test_of_a_damaged_tar_every_member_is_accounted_for(
    damage: list[tuple[float, int]], end: float, suffix: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = a_tar(Path(folder) / "foo-1.0.tar.gz", MEMBERS.items())
        if suffix == "tar":
            plain = path.with_name("foo-1.0.tar")
            plain.write_bytes(gzip.decompress(path.read_bytes())[: 11 * 1024])
            path = plain
        damaged(path, damage, end)
        files, refusals = read(path)
    assert "" in refusals or len(files) + len(refusals) >= len(MEMBERS)


@settings(max_examples=EXAMPLES, deadline=None)
@given(DAMAGE, ENDS)
def test_of_a_damaged_zip_no_member_is_read_with_other_content(
    damage: list[tuple[float, int]], end: float
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = a_zip(Path(folder) / "foo-1.0.zip", MEMBERS.items())
        damaged(path, damage, end)
        files, _ = read(path)
    assert {file.content for file in files.values()} <= set(MEMBERS.values())


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.binary(max_size=600), st.sampled_from(["zip", "whl", "tar", "tar.gz", "tgz"]))
def test_whatever_bytes_stand_for_an_archive_are_read_or_refused(
    content: bytes, suffix: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"foo-1.0.{suffix}"
        path.write_bytes(content)
        files, refusals = read(path)
    assert files or refusals


LONG = ("def f(values):\n" + "    values = [value + 1 for value in values]\n" * 20).encode()


def a_plain_tar(path: Path, names: Sequence[str], comment: str = "") -> Path:
    headers = {"comment": comment} if comment else {}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers=headers) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(LONG)
            archive.addfile(info, io.BytesIO(LONG))
    return path


def test_backslashes_of_windows_are_separators_and_find_the_licence(tmp_path: Path) -> None:
    members = [
        ("tool\\LICENSE", MIT.encode()),
        ("tool\\src\\", b""),
        ("tool\\src\\a.py", GOOD),
        ("tool\\..\\..\\evil.py", GOOD),
    ]
    files, refusals = read(a_zip(tmp_path / "tool-1.0.zip", members))
    assert {path: file.statement.expression for path, file in files.items()} == {"src/a.py": "MIT"}
    assert refusals == {"tool\\..\\..\\evil.py": "unsafe_path"}


def test_a_name_with_both_separators_twice_is_one_name(tmp_path: Path) -> None:
    members = [("a\\b.py", GOOD), ("a/b.py", GOOD), ("c.py", GOOD)]
    files, refusals = read(a_zip(tmp_path / "foo.zip", members))
    assert list(files) == ["c.py"]
    assert set(refusals.values()) == {"duplicate_name"}


@pytest.mark.parametrize("make", [a_tar, a_zip])
def test_what_macos_puts_beside_files_is_no_source_and_hides_no_licence(
    make: Callable[..., Path], tmp_path: Path
) -> None:
    members = [
        ("foo/LICENSE", MIT.encode()),
        ("foo/a.py", GOOD),
        ("foo/._a.py", b"\0\5\x16\7"),
        ("__MACOSX/foo/._a.py", b"\0\5\x16\7"),
        (".DS_Store", b"\0"),
        ("foo/._LICENSE", b"\0"),
    ]
    files, refusals = read(make(tmp_path / ("f.zip" if make is a_zip else "f.tar.gz"), members))
    assert {path: file.statement.expression for path, file in files.items()} == {"a.py": "MIT"}
    assert refusals == {"foo/._a.py": "system_metadata", "__MACOSX/foo/._a.py": "system_metadata"}


def _directory(content: bytes) -> int:
    return content.index(b"PK\x01\x02")


def _without_an_entry(content: bytes) -> bytes:
    """The directory's second entry becomes part of the first one's comment."""
    first = _directory(content)
    second = content.index(b"PK\x01\x02", first + 1)
    third = content.index(b"PK\x01\x02", second + 1)
    damaged = bytearray(content)
    damaged[first + 32 : first + 34] = (third - second).to_bytes(2, "little")
    return bytes(damaged)


def _with_another_name(content: bytes) -> bytes:
    return content[: _directory(content)] + content[_directory(content) :].replace(b"b.py", b"b.pz")


def _with_a_wrong_count(content: bytes) -> bytes:
    end = content.rindex(b"PK\x05\x06")
    return content[: end + 10] + b"\x07\0" + content[end + 12 :]


def _without_its_entries(content: bytes) -> bytes:
    """An end of the directory that lists nothing."""
    end = content.rindex(b"PK\x05\x06")
    record = content[end : end + 8] + bytes(4) + bytes(4) + end.to_bytes(4, "little") + bytes(2)
    return content[:end] + record


def _with_an_offset_elsewhere(content: bytes) -> bytes:
    second = content.index(b"PK\x01\x02", _directory(content) + 1)
    return content[: second + 42] + b"\x05\0\0\0" + content[second + 46 :]


@pytest.mark.parametrize(
    "damage",
    [
        _without_an_entry,
        _with_another_name,
        _with_a_wrong_count,
        _without_its_entries,
        _with_an_offset_elsewhere,
    ],
)
def test_a_member_that_a_damaged_zip_directory_loses_is_noticed(
    damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = a_zip(tmp_path / "foo.zip", [("a.py", GOOD), ("b.py", LONG), ("c.py", GOOD)])
    path.write_bytes(damage(path.read_bytes()))
    files, refusals = read(path)
    assert set(refusals.values()) & {
        "unlisted_member",
        "broken_member",
        "damaged_directory",
        "archive_broken",
    }
    lost = {"a.py", "b.py", "c.py"} - set(files)
    assert lost <= set(refusals) or "" in refusals


def test_a_sound_zip_of_every_kind_has_no_refusal(tmp_path: Path) -> None:
    path = tmp_path / "foo.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"PK\x03\x04 in a comment"
        archive.writestr("a/", b"")
        for number, kind in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)):
            archive.writestr(f"a/m{number}.py", LONG, kind)
        archive.writestr("a/\xe9.py", GOOD)
        with archive.open("a/streamed.py", "w", force_zip64=True) as member:
            member.write(GOOD)
    files, refusals = read(path)
    assert sorted(files) == ["m0.py", "m1.py", "streamed.py", "\xe9.py"]
    assert refusals == {}


def test_a_plain_tar_that_is_cut_between_members_is_refused(tmp_path: Path) -> None:
    path = a_plain_tar(tmp_path / "foo.tar", ["a.py", "b.py"])
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"b.py")])
    files, refusals = read(path)
    assert (list(files), refusals) == ([], {"": "archive_broken"})


def test_bytes_after_the_end_of_a_tar_are_told(tmp_path: Path) -> None:
    first = a_plain_tar(tmp_path / "foo.tar", ["a.py"])
    second = a_plain_tar(tmp_path / "b.tar", ["b.py"])
    first.write_bytes(first.read_bytes() + second.read_bytes())
    files, refusals = read(first)
    assert (list(files), refusals) == (["a.py"], {"": "data_after_end"})


@pytest.mark.parametrize("offset", [386, 482])
@pytest.mark.parametrize("value", [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"\1" * 12])
def test_a_crafted_sparse_header_costs_its_archive_only(
    offset: int, value: bytes, tmp_path: Path
) -> None:
    """tarfile raises IndexError for some."""
    header = bytearray(special("a.py", tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT))
    header[offset : offset + 12] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "foo.tar"
    path.write_bytes(bytes(header))
    files, refusals = read(path)
    assert files == {}
    assert refusals


@pytest.mark.parametrize(
    ("name", "repository", "revision"),
    [
        ("foo-1.2.tar.gz", "foo", "1.2"),
        ("foo_bar-1.2rc1.tar.gz", "foo_bar", "1.2rc1"),
        ("left-pad-1.3.0.tgz", "left-pad", "1.3.0"),
        ("foo-v2.0.1-beta.3.zip", "foo", "2.0.1-beta.3"),
        ("foo-1.0-py3-none-any.whl", "foo", "1.0"),
        ("foo_1.2.3.orig.tar.xz", "foo", "1.2.3.orig"),
        ("log4j-1.2-api-2.17.0.tgz", "log4j-1.2-api", "2.17.0"),
        ("angular-2-storage-master.zip", "angular-2-storage", "master"),
        ("angular-2-storage-1.4.0.zip", "angular-2-storage", "1.4.0"),
        ("angular-2.zip", "angular-2", None),
        ("python-3-patterns.zip", "python-3-patterns", None),
        ("foo-0123abc.zip", "foo", "0123abc"),
        ("foo-decade.zip", "foo-decade", None),
        ("foo-20240131.tgz", "foo", "20240131"),
    ],
)
def test_a_version_is_split_off_only_if_it_looks_like_one(
    name: str, repository: str, revision: str | None, tmp_path: Path
) -> None:
    make = a_zip if name.endswith(("zip", "whl")) else a_tar
    path = make(tmp_path / "made.zip", [("a.py", GOOD)])
    path.rename(tmp_path / name)
    files, _ = read(tmp_path / name)
    (file,) = files.values()
    assert file.repository == repository
    assert file.revision == revision or (revision is None and file.revision.startswith("sha256-"))


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("angular-2-storage-master.tar", "angular-2-storage"),
        ("angular-2-storage-master.tar", "someone/angular-2-storage"),
        ("angular-2-storage-1.0.tar", "angular_2.storage"),
        ("angular-2.tar", "angular"),
        ("angular-2.tar", "angular-2"),
        ("foo-1.2-beta.tar", "foo"),
        ("foo-release-2024.tar", "foo"),
        ("foo_1.2.tar", "foo"),
        ("owner-foo-0123abc.tar", "owner/foo"),
        ("owner-foo-0123abc.tar", "owner/*"),
        ("scope-foo-1.0.0.tar", "@scope/foo"),
        ("foo-1.0.tar", "in-its-manifest"),
        ("foo-1.0.tar", "owner/in-its-address"),
        ("foo-my-branch.tar", "foo"),
    ],
)
def test_every_reading_of_a_name_is_compared_with_the_opt_out_list(
    name: str, entry: str, tmp_path: Path
) -> None:
    path = a_plain_tar(tmp_path / name, ["a.py"], comment=COMMIT if "branch" in name else "")
    if "its" in entry:
        manifest = b'[project]\nname = "in-its-manifest"\n[project.urls]\nSource = '
        manifest += b'"https://github.com/owner/in-its-address"\n'
        a_tar(tmp_path / "foo-1.0.tar.gz", [("a.py", GOOD), ("pyproject.toml", manifest)])
        path.unlink()
        path = tmp_path / "foo-1.0.tar.gz"
    assert reasons_under(entry, path, tmp_path) == {"opted_out": 1}


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("angular-4-tables-main.tar", "angular-2-storage"),
        ("react-router-5.0.tar", "react"),
        ("react-router-5.0.tar", "someone/router"),
        ("requests-toolbelt-1.0.tar", "requests"),
        ("masterful-foo.tar", "masterful"),
    ],
)
def test_a_repository_that_only_begins_alike_is_not_opted_out(
    name: str, entry: str, tmp_path: Path
) -> None:
    path = a_plain_tar(tmp_path / name, ["a.py"])
    assert "opted_out" not in reasons_under(entry, path, tmp_path)


def test_a_repository_that_the_recipe_states_is_the_only_reading(tmp_path: Path) -> None:
    path = a_plain_tar(tmp_path / "angular-2-storage-master.tar", ["a.py"])
    stated = {"repositories": ("owner/other",)}
    assert reasons_under("angular-2-storage", path, tmp_path, **stated) == {"license_unknown": 1}
    assert reasons_under("owner/other", path, tmp_path, **stated) == {"opted_out": 1}
    with pytest.raises(ValueError, match="state one for each"):
        reasons_under("x", path, tmp_path, repositories=("a", "b"))


def reasons_under(entry: str, path: Path, folder: Path, **fields: Any) -> dict[str, int]:
    """Reasons of the drops of one archive whose opt-out list has one entry."""
    source = replace(a_source(path, kind="archives"), **fields)
    gate = Gate(opted_out=frozenset({parse_repository(entry)}), exemplars=frozenset())
    out = tempfile.mkdtemp(dir=folder)
    stats = ingest(out, source, recipe=a_recipe(source), languages=("python",), gate=gate)
    reasons: dict[str, int] = stats["reasons"]
    return reasons
