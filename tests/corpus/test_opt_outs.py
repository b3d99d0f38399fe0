"""Opt-outs are compared under one spelling, by repository or by owner."""

from pathlib import Path

import pytest

from snow_assets.corpus import opt_outs
from snow_assets.home import CHECKOUT, configured_url
from snow_assets.recipe import SMOKE
from snow_assets.storage import shards


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
    url = configured_url(SMOKE.corpus.opt_out_list, lake="s3://bucket/lake")
    assert opt_outs.read_list(url) == []


@pytest.mark.parametrize(
    ("configured", "url"),
    [
        ("{lake}/opt_outs.txt", "s3://bucket/lake/opt_outs.txt"),
        ("s3://other/list.txt", "s3://other/list.txt"),
        ("/data/list.txt", "/data/list.txt"),
        ("lists/list.txt", str(CHECKOUT / "lists" / "list.txt")),
    ],
)
def test_the_list_is_a_url_a_path_or_a_file_of_the_lake(configured: str, url: str) -> None:
    assert configured_url(configured, lake="s3://bucket/lake/") == url


def test_the_list_is_read_from_an_object_store(s3_lake_url: str) -> None:
    url = f"{s3_lake_url}/opt_outs.txt"
    with pytest.raises(ValueError, match="is missing"):
        opt_outs.read_list(url)
    shards.put(url, b"https://github.com/octo/one\n")
    assert opt_outs.read_list(url) == ["octo/one"]


LINES = "octo/one\n# a comment\n\nhttps://github.com/octo/two/tree/main # why\nocto-labs/\n"


@pytest.mark.parametrize(
    "content",
    [
        LINES.encode(),
        LINES.replace("\n", "\r\n").encode(),
        LINES.replace("\n", "\r").encode(),
        LINES.encode("utf-8-sig"),
        LINES.encode("utf-16"),
        LINES.rstrip("\n").encode(),
    ],
    ids=["LF", "CRLF", "CR", "byte order mark", "UTF-16", "no end of the last line"],
)
def test_a_list_is_read_whichever_editor_wrote_it(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    read = opt_outs.read_opt_outs(str(path))
    assert [(entry.line, entry.name) for entry in read] == [
        (1, "octo/one"),
        (4, "octo/two"),
        (5, "octo-labs/*"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"octo/one\nplease remove octo/two\n", r"line 2: 'please remove octo/two' names no"),
        (b"octo/one\r\n\r\n*\r\n", r"line 3: '\*' names no"),
        (b"octo/one\nocto/caf\xe9\n", r"line 2 is not utf-8"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        opt_outs.read_opt_outs(str(path))


def test_the_entries_that_a_source_holds_are_those_that_mean_its_repositories() -> None:
    names = ["octo/one", "group/*", "hello-world", "absent/one"]
    repositories = ["Octo/One", "https://gitlab.com/group/sub/tool", "other/two", "Hello.World"]
    assert opt_outs.matching_entries(iter(repositories), names) == [
        "group/*",
        "hello-world",
        "octo/one",
    ]


def test_the_list_comes_back_from_its_artifact(tmp_path: Path) -> None:
    assert opt_outs.write(str(tmp_path), ["a/b", "c"]) == 2
    assert opt_outs.read(str(tmp_path)) == frozenset({"a/b", "c"})
