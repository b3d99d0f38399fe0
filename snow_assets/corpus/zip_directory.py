"""Validate a zip's central directory: a damaged directory silently loses members.

Formats: PKWARE's APPNOTE 6.3.10, sections 4.3.7 (local header) and 4.3.16 (end of the directory).
"""

import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass

from snow_assets.corpus.locations import StoredBytes

_LOCAL = struct.Struct("<4s5H3L2H")
_LOCAL_MAGIC = b"PK\x03\x04"
_END = struct.Struct("<4s4H2LH")
_END_MAGIC = b"PK\x05\x06"
_UTF8_FLAG = 0x800
_HAS_ZIP64 = 0xFFFF
_MAX_NAME_BYTES = 4_096
_MAX_VERSION = 63  # needed to extract, in tenths: 6.3
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class LostMember:
    """A member that the archive's reader does not list; an empty name: unknown."""

    name: str
    reason: str
    evidence: str


def validate_zip(file: StoredBytes, archive: zipfile.ZipFile) -> Iterator[LostMember]:
    """Yield members whose header differs from the directory or that it does not list, and a wrong
    number of members."""
    yield from _miscounted(file, archive)
    end = 0  # of the last listed member, in the file's order
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        header = _local_header(file, info.header_offset)
        if header is None:
            evidence = "the directory says where it is, and nothing is there"
            yield LostMember(info.orig_filename, "broken_member", evidence)
            continue
        raw_name, header_bytes = header
        encoding = "utf-8" if info.flag_bits & _UTF8_FLAG else "cp437"
        name = raw_name.decode(encoding, "replace")
        if name != info.orig_filename:
            evidence = f"the directory calls it {info.orig_filename!r}"
            yield LostMember(name, "broken_member", evidence)
        yield from _unlisted(file, end, info.header_offset)
        end = max(end, info.header_offset + header_bytes + info.compress_size)
    yield from _unlisted(file, end, archive.start_dir)


def _miscounted(file: StoredBytes, archive: zipfile.ZipFile) -> Iterator[LostMember]:
    """Compare the member count in the end record with the directory."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END.size - len(archive.comment)))
    record = file.read(_END.size)
    if len(record) < _END.size or not record.startswith(_END_MAGIC):
        return  # zipfile also searches for it at other offsets
    num_members = _END.unpack(record)[4]
    num_listed = len(archive.infolist())
    if num_members not in (_HAS_ZIP64, num_listed % 0x10000):
        evidence = f"its end counts {num_members} members, its directory lists {num_listed}"
        yield LostMember("", "damaged_directory", evidence)


def _local_header(file: StoredBytes, offset: int) -> tuple[bytes, int] | None:
    """Name of the member at an offset, and the total size of header, name and extra field."""
    if offset < 0:
        return None
    file.seek(offset)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size or not header.startswith(_LOCAL_MAGIC):
        return None
    *_, name_bytes, extra_bytes = _LOCAL.unpack(header)
    name = file.read(name_bytes)
    return name, _LOCAL.size + name_bytes + extra_bytes


def _unlisted(file: StoredBytes, start: int, end: int) -> Iterator[LostMember]:
    """Yield members that begin between two offsets, where the directory lists none."""
    position, overlap = start, b""
    while position < end:
        file.seek(position)
        read = file.read(min(_BLOCK_BYTES, end - position))
        if not read:
            return
        block, first = overlap + read, position - len(overlap)
        index = block.find(_LOCAL_MAGIC)
        while index >= 0:
            name = _plausible_name(file, first + index)
            if name is not None:
                yield LostMember(name, "unlisted_member", "the directory does not list it")
            index = block.find(_LOCAL_MAGIC, index + 1)
        position += len(read)
        overlap = block[-len(_LOCAL_MAGIC) + 1 :]


def _plausible_name(file: StoredBytes, offset: int) -> str | None:
    """The name in a local header, or None if the magic bytes are a coincidence."""
    header = _local_header(file, offset)
    if header is None or not 0 < len(header[0]) <= _MAX_NAME_BYTES:
        return None
    file.seek(offset)
    version = _LOCAL.unpack(file.read(_LOCAL.size))[1] & 0xFF
    return header[0].decode("utf-8", "replace") if version <= _MAX_VERSION else None
