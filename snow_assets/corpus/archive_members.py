"""Members of tar and zip archives with untrusted bytes: nothing is extracted, damage is an error.

Hostile bytes may raise any exception: callers use `untrusted.parse_untrusted`. Errors of the
storage are StorageErrors.
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
from snow_assets.corpus.locations import StoredBytes, open_stored
from snow_assets.corpus.zip_directory import LostMember, validate_zip

_ZIPS = (".zip", ".whl")
_EXTENDED = {
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
}
_MAX_EMPTY_READS = 4
_EXTENDED_BYTES = 1 << 20  # regular ones hold a name and a few timestamps


@dataclass(frozen=True)
class Member:
    name: str  # as stored in the archive
    path: str  # with `/` between folders, as other tools read the name
    num_bytes: int
    is_file: bool
    is_folder: bool
    key: int  # its index in the archive


class _Header(tarfile.TarInfo):
    """A tar header with a size limit on extended names and attributes, which tarfile reads whole.

    A damaged header is an error at any offset: tarfile takes it for the archive's end and silently
    skips the members after it.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise  # the regular end of the archive
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a header is damaged or missing: {error}") from error

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        is_extended = self.type in _EXTENDED
        if self.size < 0 or (is_extended and self.size > _EXTENDED_BYTES):
            raise tarfile.ReadError(f"a header claims {self.size} bytes")
        # tarfile offers no public hook between a header's fields and its extended data.
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]


# By magic bytes. These verify a checksum at the end of the file; with tarfile's own decompression,
# damaged bytes can pass for an archive with fewer members.
_DECOMPRESSED: Mapping[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": lambda file: cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb")),
    b"BZh": lambda file: cast(IO[bytes], bz2.BZ2File(file)),
    b"\xfd7zXZ\x00": lambda file: cast(IO[bytes], lzma.LZMAFile(file)),  # noqa: SIM115
}


class _Window:
    """A stream that keeps the last block read and its offset."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content
        self.block, self.start = b"", 0
        self._num_empty_reads = 0

    def read(self, size: int = -1) -> bytes:
        """The next block; EOFError where tarfile would skip a wrong size forever."""
        self.start += len(self.block)
        self.block = self._content.read(size)
        self._num_empty_reads = 0 if self.block else self._num_empty_reads + 1
        if self._num_empty_reads > _MAX_EMPTY_READS:
            raise EOFError("a header claims more bytes than there are")
        return self.block


class Tar:
    """Members of a tar in file order; a compressed tar is read forward only."""

    def __init__(self, file: StoredBytes) -> None:
        start = file.read(6)
        file.seek(0)
        kinds = [kind for magic, kind in _DECOMPRESSED.items() if start.startswith(magic)]
        content = kinds[0](cast(IO[bytes], file)) if kinds else cast(IO[bytes], file)
        self._content = _Window(content)
        self._tar = tarfile.open(  # noqa: SIM115 - closed by `open_archive`
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

    def drain(self) -> Iterator[int]:
        """Read to the end of the file, where checksums are; yield the sizes of the blocks."""
        window = self._content
        block = window.block[max(self._tar.offset - window.start, 0) :]
        self._has_data_after_end = block.count(0) < len(block)
        while block := window.read(1 << 20):
            self._has_data_after_end |= block.count(0) < len(block)
            yield len(block)

    def lost_members(self) -> Iterator[LostMember]:
        """After `drain`: report bytes after the archive's end, as after a damaged header."""
        if self._has_data_after_end:
            evidence = "bytes follow the archive's end: members there are not read"
            yield LostMember("", "data_after_end", evidence)

    def commit(self) -> str:
        """The commit that `git archive` stores in a pax header, or empty."""
        return (self._tar.pax_headers or {}).get("comment", "")

    def text(self, member: Member) -> str:
        return self.content(member, MAX_TEXT_BYTES).decode("utf-8", "replace")

    def content(self, member: Member, max_bytes: int) -> bytes:
        assert self._current is not None and self._current.name == member.name
        file = self._tar.extractfile(self._current)  # a stream over the member; nothing is written
        assert file is not None
        return file.read(max_bytes)

    def close(self) -> None:
        self._tar.close()


class Zip:
    """Members of a zip in the central directory's order."""

    def __init__(self, file: StoredBytes) -> None:
        self._file = file
        self._zip = zipfile.ZipFile(cast(IO[bytes], file))
        self._infos = self._zip.infolist()

    def members(self) -> Iterator[Member]:
        for key, info in enumerate(self._infos):
            kind = (info.external_attr >> 16) & 0o170000  # Unix mode; 0 if none was stored
            # `filename` is cut at a NUL; the complete stored name must be validated.
            name = info.orig_filename
            # Windows' own tools write backslashes; Info-ZIP and libarchive read them as separators.
            path = name if "/" in name else name.replace("\\", "/")
            is_folder = path.endswith("/")
            plain = kind in (0, 0o100000) and not is_folder
            yield Member(name, path, info.file_size, plain, is_folder, key)

    def drain(self) -> Iterator[int]:
        """Nothing to read: each member has a checksum of its own."""
        return iter(())

    def lost_members(self) -> Iterator[LostMember]:
        """Members of the archive that its directory does not list under this name."""
        return validate_zip(self._file, self._zip)

    def commit(self) -> str:
        """The commit that `git archive` stores as the archive's comment, or empty."""
        return self._zip.comment.decode("latin-1")

    def text(self, member: Member) -> str:
        return self.content(member, MAX_TEXT_BYTES).decode("utf-8", "replace")

    def content(self, member: Member, max_bytes: int) -> bytes:
        with self._zip.open(self._infos[member.key]) as file:
            return file.read(max_bytes)

    def close(self) -> None:
        self._zip.close()


@contextmanager
def open_archive(url: str) -> Iterator[Tar | Zip]:
    """Open an archive by its name's suffix."""
    with open_stored(url) as file:
        archive = Zip(file) if url.lower().endswith(_ZIPS) else Tar(file)
        try:
            yield archive
        finally:
            archive.close()
