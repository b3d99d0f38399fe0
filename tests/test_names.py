"""A bound name says what its value is: names that fit any value are banned in the product."""

import ast
from collections.abc import Iterator
from pathlib import Path

from snow_assets.home import CHECKOUT

BANNED = frozenset(
    [
        "asked",
        "begun",
        "beside",
        "both",
        "facts",
        "found",
        "given",
        "gone",
        "here",
        "known",
        "made",
        "one",
        "other",
        "others",
        "place",
        "reached",
        "rest",
        "room",
        "rooms",
        "said",
        "seen",
        "shown",
        "spoken",
        "taken",
        "there",
        "told",
        "verdict",
        "verdicts",
        "wanted",
    ]
)


def bound_names(tree: ast.AST) -> Iterator[str]:
    """Variables, parameters, functions, classes, attributes and import aliases."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.arg(arg=name) | ast.alias(asname=str(name)):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name):
                yield name.lower()


def test_no_bound_name_in_the_product_fits_any_value() -> None:
    banned = {
        (str(path.relative_to(CHECKOUT)), name)
        for package in ("snow_assets", "snow_resources")
        for path in sorted(Path(CHECKOUT, package).rglob("*.py"))
        for name in bound_names(ast.parse(path.read_text()))
        if name in BANNED
    }
    assert banned == set()


def test_every_kind_of_binding_is_looked_at() -> None:
    source = (
        "import a as found\n"
        "class Made:\n    given: int\n"
        "def told(one, *others, both=1, **rest):\n    self.place = known = 1\n"
        "    for seen in []: pass\n    with a as said: pass\n    [0 for taken in b]\n"
    )
    expected = {"found", "made", "given", "told", "one", "others", "both", "rest", "place"}
    expected |= {"known", "seen", "said", "taken"}
    assert set(bound_names(ast.parse(source))) & BANNED == expected
