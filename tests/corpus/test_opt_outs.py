"""Opt-outs are compared under one spelling, by repository or by owner."""

from pathlib import Path

import pytest

from snow_assets.corpus import opt_outs
from snow_assets.recipe import SMOKE


@pytest.mark.parametrize(
    "written",
    [
        "Foo_Bar/Baz",
        "https://github.com/foo-bar/baz.git",
        "git@gitlab.com:foo.bar/baz",
        "foo-bar/*",
    ],
)
def test_every_spelling_of_a_repository_is_listed(written: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"# asked on Monday\n\n{written}  # the owner\n")
    names = opt_outs.read_list(str(path))
    assert opt_outs.is_listed("foo-bar/BAZ", frozenset(names))
    assert not opt_outs.is_listed("foo/baz", frozenset(names))
    assert not opt_outs.is_listed("bar/baz", frozenset(names))


def test_a_distribution_is_listed_under_any_pep_503_spelling() -> None:
    assert opt_outs.is_listed("Ruamel.Yaml", frozenset({"ruamel-yaml"}))


def test_a_missing_list_is_an_error_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"missing: create it .* corpus\.opt_out_list"):
        opt_outs.read_list(str(tmp_path / "none.txt"))


def test_the_list_of_the_checkout_is_there_and_only_comments_so_far() -> None:
    assert opt_outs.read_list(SMOKE.corpus.opt_out_list) == []


def test_the_list_comes_back_from_its_generation(tmp_path: Path) -> None:
    assert opt_outs.write(str(tmp_path), ["a/b", "c"]) == 2
    assert opt_outs.read(str(tmp_path)) == frozenset({"a/b", "c"})
