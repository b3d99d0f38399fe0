"""A folder's repositories as the snapshot says: git's committed tree, or files as they are."""

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snow_assets.corpus.ingest import ingest
from snow_assets.corpus.repository_names import parse_repository
from snow_assets.corpus.source_rows import Gate
from snow_assets.corpus.source_units import Refusal, SourceFile
from snow_assets.corpus.sources import snapshot, units
from snow_assets.recipe import Source
from tests.corpus.builders import LIMITS, MIT, OPEN_GATE, a_recipe, a_repository, a_source

GOOD = "x = 1\n"
IDENTITY = {
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
}


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "protocol.file.allow=always", *arguments]
    ran = subprocess.run(
        command, cwd=folder, env={**os.environ, **IDENTITY}, capture_output=True, check=True
    )
    return ran.stdout.decode().strip()


def a_git_repository(folder: Path, files: dict[str, str] | None = None) -> Path:
    """A repository with one commit."""
    a_repository(folder, files or {"a.py": GOOD})
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def read(folder: Path, **fields: Any) -> tuple[dict[str, SourceFile], dict[str, str]]:
    """Files of a folder of repositories by path, and the reasons of refusals by path."""
    source = replace(a_source(folder, kind="folder"), **fields)
    files: dict[str, SourceFile] = {}
    reasons: dict[str, str] = {}
    for unit in units(source, languages=("python",), recipe=a_recipe(source)):
        for received in unit.files(lambda _repository, _path: True):
            if isinstance(received, Refusal):
                reasons[received.path] = received.reason
            else:
                files[received.path] = received
    return files, reasons


def state(folder: Path, **fields: Any) -> dict[str, str]:
    source = replace(a_source(folder, kind="folder"), **fields)
    return {Path(name).name: value for name, value in snapshot(source, a_recipe(source)).items()}


def reasons_under(entry: str, source: Source, out: Path) -> dict[str, int]:
    gate = Gate(opted_out=frozenset({parse_repository(entry)}), exemplars=frozenset())
    stats = ingest(str(out), source, recipe=a_recipe(source), languages=("python",), gate=gate)
    reasons: dict[str, int] = stats["reasons"]
    return reasons


def test_the_committed_tree_is_read_and_not_what_was_changed_since(tmp_path: Path) -> None:
    repository = a_git_repository(tmp_path / "r", {"a.py": GOOD, "gone.py": GOOD})
    (repository / "a.py").write_text("changed = 1\n")
    (repository / "new.py").write_text(GOOD)
    (repository / "gone.py").unlink()
    files, reasons = read(tmp_path)
    assert {path: file.content for path, file in files.items()} == {
        "a.py": GOOD.encode(),
        "gone.py": GOOD.encode(),
    }
    assert reasons == {}
    assert {file.statement.expression for file in files.values()} == {"MIT"}
    assert {file.revision for file in files.values()} == {git(repository, "rev-parse", "HEAD")}


def test_an_ignored_file_is_left_out(tmp_path: Path) -> None:
    repository = a_git_repository(tmp_path / "r", {"a.py": GOOD, ".gitignore": "secret.py\n"})
    (repository / "secret.py").write_text(GOOD)
    assert list(read(tmp_path)[0]) == ["a.py"]


@pytest.mark.parametrize("change", ["edit", "new file", "ignored file"])
def test_a_recipe_may_refuse_a_repository_with_uncommitted_changes(
    change: str, tmp_path: Path
) -> None:
    repository = a_git_repository(tmp_path / "r", {"a.py": GOOD, ".gitignore": "x.py\n"})
    clean = state(tmp_path, uncommitted_changes="refuse")
    name = {"edit": "a.py", "new file": "b.py", "ignored file": "x.py"}[change]
    (repository / name).write_text("changed = 1\n")
    _, reasons = read(tmp_path, uncommitted_changes="refuse")
    is_refused = change != "ignored file"
    assert reasons == ({"": "uncommitted_changes"} if is_refused else {})
    assert (state(tmp_path, uncommitted_changes="refuse") != clean) == is_refused
    assert state(tmp_path) == clean


def test_the_commit_is_found_in_packed_references(tmp_path: Path) -> None:
    repository = a_git_repository(tmp_path / "r")
    git(repository, "pack-refs", "--all")
    git(repository, "gc", "-q")
    assert not (repository / ".git" / "refs" / "heads" / "main").exists()
    assert state(tmp_path) == {"r": git(repository, "rev-parse", "HEAD")}
    assert list(read(tmp_path)[0]) == ["a.py"]


def test_a_detached_head_a_bare_clone_and_a_linked_worktree_are_read(tmp_path: Path) -> None:
    origin = a_git_repository(tmp_path / "elsewhere" / "origin")
    commit = git(origin, "rev-parse", "HEAD")
    folder = tmp_path / "in"
    folder.mkdir()
    git(folder, "clone", "-q", "--bare", str(origin), "bare.git")
    git(folder, "clone", "-q", str(origin), "detached")
    git(folder / "detached", "checkout", "-q", "--detach")
    git(origin, "worktree", "add", "-q", "-b", "work", str(folder / "linked"))
    assert state(folder) == dict.fromkeys(("bare.git", "detached", "linked"), commit)
    source = a_source(folder, kind="folder")
    names = [
        received.repository
        for unit in units(source, languages=("python",), recipe=a_recipe(source))
        for received in unit.files(lambda _repository, _path: True)
        if isinstance(received, SourceFile)
    ]
    assert names == ["bare", "detached", "linked"]


def test_a_submodule_is_stated_and_not_read(tmp_path: Path) -> None:
    inner = a_git_repository(tmp_path / "elsewhere" / "inner", {"b.py": GOOD})
    outer = a_git_repository(tmp_path / "in" / "outer")
    git(outer, "submodule", "-q", "add", str(inner), "third_party")
    git(outer, "commit", "-q", "-m", "second")
    files, reasons = read(tmp_path / "in")
    assert (list(files), reasons) == (["a.py"], {"third_party": "submodule"})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("nothing committed", "no_commit"),
        ("no objects", "git_broken"),
        ("a missing object", "missing_object"),
        ("garbage in HEAD", "git_broken"),
        ("an empty .git", "git_broken"),
        ("a .git that leads elsewhere", "git_elsewhere"),
    ],
)
def test_a_repository_that_git_cannot_read_is_a_refusal_and_the_next_one_is_read(
    damage: str, reason: str, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    a_git_repository(folder / "z-good")
    broken = a_git_repository(folder / "broken", {"b.py": "b = 1\n"})
    blob = git(broken, "rev-parse", "HEAD:b.py")
    if damage == "nothing committed":
        git(broken, "update-ref", "-d", "HEAD")
    elif damage == "no objects":
        subprocess.run(
            ["rm", "-rf", broken / ".git" / "objects" / git(broken, "rev-parse", "HEAD")[:2]]
        )
    elif damage == "a missing object":
        path = broken / ".git" / "objects" / blob[:2] / blob[2:]
        path.chmod(0o644)
        path.unlink()
    elif damage == "garbage in HEAD":
        (broken / ".git" / "HEAD").write_bytes(b"\xff\0")
    else:
        shutil.rmtree(broken / ".git")
        if damage == "an empty .git":
            (broken / ".git").mkdir()
        else:
            private = a_git_repository(tmp_path / "private", {"secret.py": GOOD})
            (broken / ".git").write_text(f"gitdir: {private / '.git'}\n")
    files, reasons = read(folder)
    assert list(files) == ["a.py"]
    assert list(reasons.values()) == [reason]
    assert set(state(folder)) == {"broken", "z-good"}


def test_nothing_that_a_repository_configures_is_run(tmp_path: Path) -> None:
    repository = a_git_repository(
        tmp_path / "r", {"a.py": GOOD, ".gitattributes": "*.py filter=x\n"}
    )
    mark = tmp_path / "was-run"
    program = tmp_path / "program.sh"
    program.write_text(f"#!/bin/sh\ntouch {mark}\ncat\n")
    program.chmod(0o755)
    for key in ("core.fsmonitor", "filter.x.clean", "filter.x.smudge", "core.pager"):
        git(repository, "config", key, str(program))
    (repository / "a.py").write_text("changed = 1\n")
    mark.unlink(missing_ok=True)
    read(tmp_path, uncommitted_changes="refuse")
    state(tmp_path, uncommitted_changes="refuse")
    assert not mark.exists()


@pytest.mark.parametrize("entry", ["owner/other", "someone/r", "owner/*"])
def test_an_opt_out_is_also_found_by_the_remote_of_a_clone(entry: str, tmp_path: Path) -> None:
    repository = a_git_repository(tmp_path / "in" / "r")
    git(repository, "remote", "add", "origin", "git@github.com:owner/other.git")
    source = a_source(tmp_path / "in", kind="folder")
    assert reasons_under(entry, source, tmp_path / "out") == {"opted_out": 1}


def test_a_tree_with_more_files_than_allowed_is_refused_before_it_is_walked(tmp_path: Path) -> None:
    """Ten levels of a tree that names the one below ten times: ten thousand million files."""
    repository = a_git_repository(tmp_path / "r")
    tree = git(repository, "rev-parse", "HEAD^{tree}")
    for _ in range(10):
        lines = "".join(f"040000 tree {tree}\tf{number}\n" for number in range(10))
        ran = subprocess.run(
            ["git", "mktree"], cwd=repository, input=lines.encode(), capture_output=True, check=True
        )
        tree = ran.stdout.decode().strip()
    commit = git(repository, "commit-tree", tree, "-m", "bomb")
    git(repository, "update-ref", "HEAD", commit)
    assert read(tmp_path)[1] == {"": "too_many_files"}


def test_an_edit_of_the_same_size_is_noticed_without_git(tmp_path: Path) -> None:
    repository = a_repository(tmp_path / "r", {"a.py": GOOD})
    before, first = state(tmp_path), read(tmp_path)[0]["a.py"].revision
    time.sleep(0.01)
    (repository / "a.py").write_text("y = 2\n")
    assert state(tmp_path) != before
    assert read(tmp_path)[0]["a.py"].revision != first


def test_copies_of_a_folder_have_the_same_revision(tmp_path: Path) -> None:
    for name in ("one", "two"):
        a_repository(tmp_path / name / "r", {"a.py": GOOD, "b.py": GOOD})
    one, two = (read(tmp_path / name)[0]["a.py"].revision for name in ("one", "two"))
    assert one == two


def test_what_is_no_plain_file_is_refused_and_never_opened(tmp_path: Path) -> None:
    repository = a_repository(tmp_path / "r", {"a.py": GOOD})
    os.mkfifo(repository / "pipe.py")
    (repository / "link.py").symlink_to("/etc/passwd")
    (repository / "loop.py").symlink_to("loop.py")
    os.mkfifo(repository / "COPYING")
    with (repository / os.fsdecode(b"caf\xe9.py")).open("w") as file:
        file.write(GOOD)
    _, reasons = read(tmp_path)
    assert reasons == {
        "pipe.py": "link",
        "link.py": "link",
        "loop.py": "link",
        "caf\udce9.py": "unsafe_name",
    }


def test_a_folder_of_many_files_is_listed_in_proportion_to_their_number(tmp_path: Path) -> None:
    seconds = []
    for count in (500, 2_000):
        repository = tmp_path / str(count) / "r"
        a_repository(repository, {f"m{number}.py": f"x = {number}\n" for number in range(count)})
        source = a_source(tmp_path / str(count), kind="folder")
        recipe = a_recipe(source, archives=replace(LIMITS, max_members=10_000))
        start = time.process_time()
        stats = ingest(
            str(tmp_path / f"out{count}"),
            source,
            recipe=recipe,
            languages=("python",),
            gate=OPEN_GATE,
        )
        seconds.append(time.process_time() - start)
        assert stats["licenses"] == {"MIT": count}
    assert seconds[1] < 10 * seconds[0] + 0.5


def test_a_licence_link_is_followed_within_the_committed_tree_only(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name, target in (("good", "legal/TERMS"), ("bad", "../outside")):
        repository = a_repository(folder / name, {"a.py": GOOD, "legal/TERMS": MIT}, license_="")
        (repository / "LICENSE").symlink_to(target)
        git(repository, "init", "-q", "-b", "main")
        git(repository, "add", "-A")
        git(repository, "commit", "-q", "-m", "first")
    (folder.parent / "outside").write_text(MIT)
    source = a_source(folder, kind="folder")
    stated = {
        received.repository: received.statement.expression
        for unit in units(source, languages=("python",), recipe=a_recipe(source))
        for received in unit.files(lambda _repository, _path: True)
        if isinstance(received, SourceFile)
    }
    assert stated == {"good": "MIT", "bad": None}
