"""Archives are streamed, never extracted, and what is hostile in them is refused by name."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from snow_assets.corpus import archives
from snow_assets.corpus.source_units import Refusal, SourceFile
from snow_assets.corpus.untrusted import StorageError
from tests.corpus.builders import LIMITS, MIT, a_tar, a_zip

GOOD = b"def f():\n    return 1\n"
MEMBERS = {f"package/module{number}.py": GOOD * (number + 1) for number in range(5)}


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
