"""Validation of a recipe's values against the annotations of its fields.

Every dataclass of the recipe derives from `RecipeSection`: at construction each value is strictly
validated for type, range, finiteness and control characters, so that no step starts with an invalid
value. The annotations are the only place of limits.
"""

import unicodedata
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, get_type_hints

from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen
from pydantic import AfterValidator, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from snow_assets.storage.urls import redact_urls

MAX_COUNT = 2**53
"""The largest integer that JSON readers and 64-bit floats represent exactly."""

_MAX_VALUE_CHARS = 120
_CONTROL_CATEGORIES = (
    "Cc",
    "Cs",
    "Zl",
    "Zp",
)  # Unicode categories: controls, surrogates, separators
_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_STRICT = ConfigDict(strict=True, allow_inf_nan=False)


def _one_line(text: str) -> str:
    for char in text:
        if unicodedata.category(char) in _CONTROL_CATEGORIES or char in _BIDI_CONTROLS:
            raise ValueError(f"must hold no control character, not U+{ord(char):04X}")
    if redact_urls(text) != text:
        raise ValueError("must hold no credentials in a URL: the store's own variables carry them")
    if text != text.strip():
        raise ValueError("must not begin or end with white space")
    return text


def _without_repetition(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) != len(values):
        raise ValueError("must not name a value twice")
    return values


def _at_most_one_gpu(gpus: int) -> int:
    if gpus not in (0, 1):
        raise ValueError("must be 0 (a CPU) or 1: the work is one process, which uses one GPU")
    return gpus


def _source_name(name: str) -> str:
    letters = name.replace("-", "").replace("_", "").replace(".", "")
    if not letters.isalnum() or name.startswith("."):
        raise ValueError(
            "is a folder's name: use letters, digits, '-', '_', '.', and no '.' in front"
        )
    return name


def require(condition: bool, message: str) -> None:
    """Raise ValueError with a message unless a condition on several values holds."""
    if not condition:
        raise ValueError(message)


Text = Annotated[str, MinLen(1), MaxLen(4_096), AfterValidator(_one_line)]
"""A path, URL or description on one line."""
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$", max_length=128)]
"""A name that also becomes a folder's, a partition's or a model's name."""
SourceName = Annotated[str, MinLen(1), MaxLen(64), AfterValidator(_source_name)]
"""A name that is a partition's and a folder's; letters of any script."""
Count = Annotated[int, Ge(1), Le(MAX_COUNT)]
OptionalSize = Annotated[int, Ge(0), Le(MAX_COUNT)]
"""A count that may be zero."""
Seed = Annotated[int, Ge(0), Le(2**32 - 1)]
LicenseId = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+-]*$", max_length=128)
]
"""An SPDX identifier."""
Repeats = Annotated[int, Ge(0), Le(1_000)]
SingleProcessGpus = Annotated[int, AfterValidator(_at_most_one_gpu)]
"""GPUs of work that runs as one process."""
Threads = Annotated[int, Ge(1), Le(1_024)]
MemoryGib = Annotated[int, Ge(1), Le(65_536)]
Fraction = Annotated[float, Ge(0), Le(1)]
ProperFraction = Annotated[float, Gt(0), Lt(1)]
PositiveFraction = Annotated[float, Gt(0), Le(1)]
PositiveFloat = Annotated[float, Gt(0), Le(1e18)]
Price = Annotated[float, Ge(0), Le(1e9)]
LearningRate = Annotated[float, Gt(0), Le(10)]
FinalLearningRate = Annotated[float, Ge(0), Le(10)]
WeightDecay = Annotated[float, Ge(0), Le(10)]
Distinct = AfterValidator(_without_repetition)
"""A tuple without repeated values."""


@dataclass(frozen=True, kw_only=True)
class RecipeSection:
    """Base of the recipe's dataclasses; ValueError with field, value and the allowed values."""

    def __post_init__(self) -> None:
        violations = validate_fields(self)
        if violations:
            raise ValueError("\n".join(violations))


def validate_fields(section: RecipeSection) -> list[str]:
    """Validate a dataclass instance; return a line per value that violates its annotation."""
    section_type: Any = type(section)  # mypy takes a frozen dataclass's type for unhashable
    annotations = _annotations(section_type)
    violations = []
    for field in fields(section):
        value = getattr(section, field.name)
        try:
            _adapter(annotations[field.name]).validate_python(value)
        except ValidationError as error:
            path = f"{section_type.__name__}.{field.name}"
            violations += [
                _violation(path, fault)
                for fault in error.errors(include_url=False)
                # pydantic also counts the items that it refused as missing
                if fault["type"] != "too_short" or not fault["input"]
            ]
    return violations


def _violation(path: str, error: Any) -> str:
    index = "".join(f"[{part}]" for part in error["loc"] if isinstance(part, int))
    value = redact_urls(repr(error["input"]))
    if len(value) > _MAX_VALUE_CHARS:
        value = f"{value[:_MAX_VALUE_CHARS]}..."
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{path}{index} is {value}: {message[:1].lower()}{message[1:]}"


@cache
def _annotations(section: type[RecipeSection]) -> dict[str, Any]:
    return get_type_hints(section, include_extras=True)


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    """The validator of an annotation; nested sections are validated at their construction."""
    if isinstance(annotation, type) and issubclass(annotation, RecipeSection):
        return TypeAdapter(_instance_of(annotation), config=_STRICT)
    return TypeAdapter(annotation, config=_STRICT)


def _instance_of(section: type) -> Any:
    def is_instance(value: Any) -> Any:
        if not isinstance(value, section):
            raise ValueError(f"must be a {section.__name__}")
        return value

    return Annotated[Any, AfterValidator(is_instance)]
