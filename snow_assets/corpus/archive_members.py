"""Tars and zips as members, whatever their bytes are: none is extracted, damaged ones say so.

Hostile bytes may raise anything here: callers use `foreign.parse_foreign`. A fault of what stores
the bytes is a StorageError.
"""

import bz2
import gzip
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Self, cast

from snow_assets.corpus.license_texts import MAX_TEXT_BYTES
from snow_assets.corpus.locations import StoredBytes, stored
from snow_assets.corpus.zip_directory import LostMember, zip_violations

_ZIPS = (".zip", ".whl")
_EXTENDED = {
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}
_MAX_EMPTY_READS = 4
_EXTENDED_BYTES = 1 << 20  # honest ones hold a name and a few times


@dataclass(frozen=True)
class Member:
    name: str  # as it stands in the archive
    path: str  # with `/` between folders, as other tools read the name
    num_bytes: int
    is_file: bool
    is_folder: bool
    key: int  # its place in the archive


class _Header(tarfile.TarInfo):
    """A header whose extended name or attributes are bounded: tarfile reads them whole.

    A damaged one is an error wherever it stands: tarfile takes it for the archive's end, and the
    members behind it would be lost without a word.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # the end as it should be
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a header is damaged or missing: {error}") from error

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        is_extended = self.type in _EXTENDED
        if self.size < 0 or (is_extended and self.size > _EXTENDED_BYTES):
            raise tarfile.ReadError(f"a header claims {self.size} bytes")
        # tarfile offers no public hook between a header's fields and its extended data.
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]


# By the bytes that a compressed file begins with. These check, at its end, what they have read;
# damaged bytes that tarfile decompresses itself can pass for an archive of fewer members.
_DECOMPRESSED: Mapping[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": lambda file: cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb")),
    b"BZh": lambda file: cast(IO[bytes], bz2.BZ2File(file)),
    b"\xfd7zXZ\x00": lambda file: cast(IO[bytes], lzma.LZMAFile(file)),  # noqa: SIM115
}


class _Window:
    """A stream that remembers the last block that was read from it, and where that begins."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content
        self.block, self.start = b"", 0
        self._num_empty_reads = 0

    def read(self, size: int = -1) -> bytes:
        """The next block; EOFError where tarfile would skip a claimed size for ever."""
        self.start += len(self.block)
        self.block = self._content.read(size)
        self._num_empty_reads = 0 if self.block else self._num_empty_reads + 1
        if self._num_empty_reads > _MAX_EMPTY_READS:
            raise EOFError("a header claims more bytes than there are")
        return self.block


class Tar:
    """Members in file order; a compressed tar is read forward only."""

    def __init__(self, file: StoredBytes) -> None:
        start = file.read(6)
        file.seek(0)
        kinds = [kind for magic, kind in _DECOMPRESSED.items() if start.startswith(magic)]
        content = kinds[0](cast(IO[bytes], file)) if kinds else cast(IO[bytes], file)
        self._content = _Window(content)
        self._tar = tarfile.open(  # noqa: SIM115 - closed by `opened`
            fileobj=cast(IO[bytes], self._content),
            mode="r|",
            tarinfo=_Header,
            errors="surrogateescape",
        )
        self._current: tarfile.TarInfo | None = None
        self._has_data_after_end = False

    def members(self) -> Iterator[Member]:
        for key, info in enumerate(self._tar):
            self._current = info
            is_file = info.isreg() and not info.issparse()
            yield Member(info.name, info.name, info.size, is_file, info.isdir(), key)

    def rest(self) -> Iterator[int]:
        """Read what follows the last member, whose checks are at its end; sizes of its blocks."""
        window = self._content
        block = window.block[max(self._tar.offset - window.start, 0) :]
        self._has_data_after_end = block.count(0) < len(block)
        while block := window.read(1 << 20):
            self._has_data_after_end |= block.count(0) < len(block)
            yield len(block)

    def lost(self) -> Iterator[LostMember]:
        """After `rest`: whether bytes follow the archive's end, as behind a damaged header."""
        if self._has_data_after_end:
            evidence = "bytes follow the archive's end: members there are not read"
            yield LostMember("", "data_after_end", evidence)

    def commit(self) -> str:
        """The commit that `git archive` notes in a header of its own, or nothing."""
        return (self._tar.pax_headers or {}).get("comment", "")

    def text(self, member: Member) -> str:
        return self.content(member, MAX_TEXT_BYTES).decode("utf-8", "replace")

    def content(self, member: Member, most: int) -> bytes:
        assert self._current is not None and self._current.name == member.name
        file = self._tar.extractfile(self._current)  # a stream over the member; nothing is written
        assert file is not None
        return file.read(most)

    def close(self) -> None:
        self._tar.close()


class Zip:
    """Members in the central directory's order."""

    def __init__(self, file: StoredBytes) -> None:
        self._file = file
        self._zip = zipfile.ZipFile(cast(IO[bytes], file))
        self._infos = self._zip.infolist()

    def members(self) -> Iterator[Member]:
        for key, info in enumerate(self._infos):
            kind = (info.external_attr >> 16) & 0o170000  # Unix mode; 0 where none was kept
            # `filename` is cut at a NUL; the name as it stands in the archive must be judged.
            name = info.orig_filename
            # Windows' own tools write backslashes; Info-ZIP and libarchive read them as separators.
            path = name if "/" in name else name.replace("\\", "/")
            is_folder = path.endswith("/")
            plain = kind in (0, 0o100000) and not is_folder
            yield Member(name, path, info.file_size, plain, is_folder, key)

    def rest(self) -> Iterator[int]:
        """Nothing: each member has a check of its own."""
        return iter(())

    def lost(self) -> Iterator[LostMember]:
        """Members that stand in the archive, but not under this name in its directory."""
        return zip_violations(self._file, self._zip)

    def commit(self) -> str:
        """The commit that `git archive` notes as the archive's comment, or nothing."""
        return self._zip.comment.decode("latin-1")

    def text(self, member: Member) -> str:
        return self.content(member, MAX_TEXT_BYTES).decode("utf-8", "replace")

    def content(self, member: Member, most: int) -> bytes:
        with self._zip.open(self._infos[member.key]) as file:
            return file.read(most)

    def close(self) -> None:
        self._zip.close()


@contextmanager
def opened(url: str) -> Iterator[Tar | Zip]:
    with stored(url) as file:
        archive = Zip(file) if url.lower().endswith(_ZIPS) else Tar(file)
        try:
            yield archive
        finally:
            archive.close()
