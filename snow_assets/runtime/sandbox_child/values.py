"""Serialization of plain Python values, the only data that a program can send to the judge.

Supported types: None, bool, int, float, complex, str, bytes, bytearray, list, tuple, set,
frozenset, dict, range, and iterators (decoded as an iterator over their items). An instance of a
subclass is encoded as the plain value of its built-in base; other types are refused. So decoded
values compare, hash and print as the built-in types do, whatever their class was. Two references
to one object become two objects.

A value is a tag byte, then for scalars a length and content, for containers a count and the
items. Integers are two's complement, floats are IEEE doubles, text is UTF-8 with surrogates.
Memory: at most about 10 times the decoded bytes, which the caller limits.
"""

import struct
from collections.abc import Callable, Iterable
from typing import Any, cast

MAX_DEPTH = 200  # of containers within containers
MAX_ITEMS = 1_000_000  # that an iterator may yield

_COUNT, _DOUBLE, _DOUBLES = struct.Struct(">Q"), struct.Struct(">d"), struct.Struct(">dd")
_KINDS: tuple[tuple[bytes, Any], ...] = (
    (b"l", list),
    (b"t", tuple),
    (b"S", set),
    (b"z", frozenset),
)
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))


class ValueCannotCrossError(ValueError):
    """A value of an unsupported type, nested too deep, or bytes that encode no value."""


def encode(value: object) -> bytes:
    """Encode a value; ValueCannotCrossError names an unsupported type."""
    parts: list[bytes] = []
    _encode(value, parts, 0)
    return b"".join(parts)


def _encode(value: object, parts: list[bytes], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueCannotCrossError(f"a value nested deeper than {MAX_DEPTH} cannot cross")
    scalar = _scalar(value)
    if scalar is not None:
        parts.append(scalar)
        return
    tag, items = _items(value)
    parts += (tag, _COUNT.pack(len(items)))
    for item in items:
        _encode(item, parts, depth + 1)


def _scalar(value: object) -> bytes | None:
    """Encode a scalar; None for other values. Methods of subclasses are not called."""
    if value is None or value is True or value is False:
        return {None: b"N", True: b"T", False: b"F"}[value]
    if isinstance(value, int):
        number = int.__index__(value)
        return _sized(b"i", number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))
    if isinstance(value, float):
        return b"f" + _DOUBLE.pack(float.__float__(value))
    if isinstance(value, complex):
        return b"c" + _DOUBLES.pack(value.real, value.imag)
    if isinstance(value, str):
        return _sized(b"s", str.encode(value, "utf-8", "surrogatepass"))
    if isinstance(value, bytes | bytearray):
        return _sized(b"b" if isinstance(value, bytes) else b"y", bytes(value))
    return None


def _sized(tag: bytes, content: bytes) -> bytes:
    return tag + _COUNT.pack(len(content)) + content


def _items(value: object) -> tuple[bytes, list[object]]:
    """A container's tag and items; of a dict, keys and values alternate."""
    if isinstance(value, dict):
        return b"d", [part for pair in dict.items(value) for part in pair]
    for tag, kind in _KINDS:
        if isinstance(value, kind):
            return tag, list(kind.__iter__(value))
    if isinstance(value, range):
        return b"r", [value.start, value.stop, value.step]
    if isinstance(value, _VIEWS) or hasattr(type(value), "__next__"):
        items: list[object] = []
        for item in cast(Iterable[object], value):
            if len(items) == MAX_ITEMS:
                raise ValueCannotCrossError(f"an iterator yields more than {MAX_ITEMS} values")
            items.append(item)
        return b"I", items
    raise ValueCannotCrossError(
        f"a value of type {type(value).__name__} cannot cross: return plain Python values"
    )


def decode(content: bytes) -> object:
    """Decode a value from all of `content`; ValueCannotCrossError for invalid bytes."""
    try:
        value, end = _decode(content, 0, 0)
    except ValueCannotCrossError:
        raise
    except (ValueError, TypeError, IndexError, OverflowError, struct.error) as error:
        raise ValueCannotCrossError(f"the bytes encode no value: {error}") from None
    if end != len(content):
        raise ValueCannotCrossError(f"{len(content) - end} bytes follow the value")
    return value


def _decode(content: bytes, start: int, depth: int) -> tuple[object, int]:
    """Decode the value that begins at `start`; return it and its end."""
    if depth > MAX_DEPTH:
        raise ValueCannotCrossError(f"a value nested deeper than {MAX_DEPTH} cannot cross")
    tag, start = content[start : start + 1], start + 1
    if tag in _CONSTANTS:
        return _CONSTANTS[tag], start
    if tag == b"f":
        return _DOUBLE.unpack_from(content, start)[0], start + _DOUBLE.size
    if tag == b"c":
        return complex(*_DOUBLES.unpack_from(content, start)), start + _DOUBLES.size
    (count,), start = _COUNT.unpack_from(content, start), start + _COUNT.size
    if count > len(content) - start:  # an item takes a byte at least
        raise ValueCannotCrossError(f"{count} bytes or items are announced, fewer follow")
    if tag in _SCALARS:
        return _SCALARS[tag](content[start : start + count]), start + count
    if tag not in _CONTAINERS:
        raise ValueCannotCrossError(f"{tag!r} is no tag of a value")
    items: list[object] = []
    for _ in range(count):
        item, start = _decode(content, start, depth + 1)
        items.append(item)
    return _CONTAINERS[tag](items), start


def _integer(content: bytes) -> int:
    return int.from_bytes(content, "big", signed=True)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogatepass")


def _dictionary(items: list[object]) -> dict[object, object]:
    return dict(zip(items[::2], items[1::2], strict=True))


def _range(items: list[Any]) -> range:
    start, stop, step = items
    return range(start, stop, step)


_CONSTANTS = {b"N": None, b"T": True, b"F": False}
_SCALARS: dict[bytes, Callable[[bytes], object]] = {
    b"i": _integer,
    b"s": _text,
    b"b": bytes,
    b"y": bytearray,
}
_CONTAINERS: dict[bytes, Callable[[list[object]], object]] = {
    b"d": _dictionary,
    b"l": list,
    b"t": tuple,
    b"S": set,
    b"z": frozenset,
    b"r": _range,
    b"I": iter,
}
