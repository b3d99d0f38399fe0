"""Of a damaged archive no member is lost without notice, or read with other content."""

import gzip
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.corpus.builders import a_tar, a_zip
from tests.corpus.test_archives import GOOD, LONG, a_plain_tar, read, special

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
