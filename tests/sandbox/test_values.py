"""Values that cross to the judge: what comes out is plain, and nothing else comes out."""

import math
import random
from collections import Counter, OrderedDict, namedtuple
from enum import IntEnum
from typing import Any

import pytest

from snow_assets.runtime.sandbox_child.values import (
    MAX_DEPTH,
    MAX_ITEMS,
    ValueCannotCrossError,
    decode,
    encode,
)

VALUES = [
    None,
    True,
    False,
    0,
    1,
    -1,
    127,
    128,
    -128,
    -129,
    255,
    256,
    2**63,
    -(2**63),
    10**4000,
    0.0,
    -0.0,
    1.5,
    math.inf,
    -math.inf,
    1e-320,
    1j,
    complex(-0.0, math.inf),
    "",
    "a",
    "é\x00\U0001f600",
    "\ud83d",
    b"",
    b"\x00\xff",
    bytearray(b"x"),
    [],
    (),
    set(),
    frozenset(),
    {},
    [[]],
    ((),),
    {1: {2: {3: [None]}}},
    [1, 1.0, True, "1", b"1"],
    {(1, frozenset({2})): {"x"}},
    {True: 1},
    range(3, 10, 2),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: ascii(value)[:30])
def test_a_plain_value_comes_out_as_it_went_in(value: object) -> None:
    crossed = decode(encode(value))
    assert repr(crossed)[:100] == repr(value)[:100]
    assert type(crossed) is type(value)
    assert crossed == value


def test_not_a_number_stays_that_and_equals_nothing() -> None:
    crossed: Any = decode(encode([math.nan]))
    assert math.isnan(crossed[0])
    assert crossed != [math.nan]


class Colour(IntEnum):
    RED = 3


class LiarList(list[int]):
    def __eq__(self, other: object) -> bool:
        return True

    def __iter__(self) -> Any:
        return iter([1, 2, 3])

    __hash__ = None  # type: ignore[assignment]


class LiarInt(int):
    def __index__(self) -> int:
        return 42

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


Pair = namedtuple("Pair", "x y")


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Colour.RED, 3),
        (Pair(1, 2), (1, 2)),
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(a=1), {"a": 1}),
        (LiarList([9]), [9]),
        (LiarInt(7), 7),
    ],
    ids=["IntEnum", "namedtuple", "Counter", "OrderedDict", "list that lies", "int that lies"],
)
def test_an_instance_of_a_subclass_crosses_as_its_plain_base(value: object, plain: object) -> None:
    crossed = decode(encode(value))
    assert type(crossed) is type(plain)
    assert crossed == plain


@pytest.mark.parametrize(
    "value",
    [iter([1, 2]), (x for x in (1, 2)), map(int, "12"), {1: 0, 2: 0}.keys(), filter(None, [1, 2])],
    ids=["iter", "generator", "map", "keys", "filter"],
)
def test_an_iterator_crosses_as_an_iterator(value: object) -> None:
    crossed: Any = decode(encode(value))
    assert next(crossed) == 1
    assert list(crossed) == [2]


def _cycle() -> list[Any]:
    cycle: list[Any] = []
    cycle.append(cycle)
    return cycle


def _deep() -> list[Any]:
    deep: list[Any] = []
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "type object"),
        (len, "builtin_function"),
        (_cycle(), "nested"),
        (_deep(), "nested"),
        (iter(range(MAX_ITEMS + 1)), "yields more than"),
        ([int], "type"),
        (slice(1), "slice"),
        (memoryview(b""), "memoryview"),
        (..., "ellipsis"),
    ],
    ids=["object", "function", "cycle", "deep", "endless", "class", "slice", "view", "ellipsis"],
)
def test_what_is_no_plain_value_is_refused_by_its_type(value: object, reason: str) -> None:
    with pytest.raises(ValueCannotCrossError, match=reason):
        encode(value)


def test_bytes_that_no_value_encodes_to_raise_one_error_only() -> None:
    """20,000 pieces of damaged, cut and random bytes; none takes memory beyond its length."""
    draw = random.Random(0)
    whole = encode([VALUES, {"a": (1.0, 2j)}])
    num_refused = 0
    for _ in range(20_000):
        content = bytearray(whole[draw.randrange(len(whole)) :][: draw.randrange(1, 60)])
        for _ in range(draw.randrange(4)):
            content[draw.randrange(len(content))] = draw.choice(b"NTFfcisbydltSzrI\x00\x01\x08\xff")
        try:
            decode(bytes(content))
        except ValueCannotCrossError:
            num_refused += 1
    assert num_refused > 10_000


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"l" + b"\xff" * 8,
        b"i" + (2**62).to_bytes(8, "big"),
        b"NN",
        b"f1",
        b"x" + bytes(8),
        b"S" + (1).to_bytes(8, "big") + encode([]),
        b"d" + (1).to_bytes(8, "big") + b"N",
        (b"l" + (1).to_bytes(8, "big")) * 5000 + encode([]),
        b"s" + (1).to_bytes(8, "big") + b"\xff",
        b"r" + (3).to_bytes(8, "big") + encode(1) * 2 + encode(0),
        b"r" + bytes(8),
    ],
    ids=[
        "empty",
        "endless list",
        "endless integer",
        "two values",
        "cut float",
        "unknown tag",
        "unhashable",
        "odd dictionary",
        "nested",
        "no UTF-8",
        "range without step",
        "empty range",
    ],
)
def test_crafted_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(ValueCannotCrossError):
        decode(content)
