"""An opt-out by a clone's remote finds what was ingested under the folder's name, everywhere."""

from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from snow_assets.corpus.ingested_names import ingested_names, with_ingested_names
from snow_assets.corpus.opt_out_matches import matches
from snow_assets.corpus.opt_outs import read_opt_outs
from snow_assets.defs import corpus, documents
from snow_assets.defs.graph import STAGES
from snow_assets.defs.materialize import current_artifacts
from snow_assets.planning import purge
from snow_assets.planning.opt_out_traces import traces
from snow_assets.recipe import SMOKE, Recipe
from snow_assets.storage import shards
from snow_resources.lake import Lake
from snow_resources.tracking import Tracking
from tests.corpus.builders import a_source
from tests.corpus.test_folders import a_git_repository, git
from tests.stage_assets import assets_of

ENTRIES = ("pallets/click", "https://github.com/Pallets/click.git", "pallets/*", "someone/click")


def a_recipe(tmp_path: Path) -> Recipe:
    """A folder with a clone of pallets/click and another repository, and an empty list."""
    clone = tmp_path / "code" / "click"
    if not clone.exists():
        a_git_repository(clone)
        git(clone, "remote", "add", "origin", "git@github.com:pallets/click.git")
        a_git_repository(tmp_path / "code" / "jinja", {"b.py": "b = 2\n"})
        (tmp_path / "opt_outs.txt").write_text("")
    source = replace(a_source(tmp_path / "code", kind="folder"), name="stdlib")
    return replace(
        SMOKE,
        corpus=replace(
            SMOKE.corpus,
            sources=(source,),
            opt_out_list=str(tmp_path / "opt_outs.txt"),
            min_repositories=1,
        ),
    )


def materialize(recipe: Recipe, lake: Lake) -> None:
    resources = {"lake": lake, "tracking": Tracking(uri=""), "recipe": recipe}
    shared = assets_of(corpus.opt_outs, corpus.benchmark_problems, corpus.exemplars)
    of_source = assets_of(corpus.raw_code_corpus, documents.documents)
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(shared, instance=instance, resources=resources)
        dg.materialize(
            [*shared, *of_source],
            selection=of_source,
            instance=instance,
            resources=resources,
            partition_key="stdlib",
        )


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_opt_out_by_a_remote_or_an_owner_is_traced_purged_and_counted(
    entry: str, tmp_path: Path, lake_url: str
) -> None:
    recipe, lake = a_recipe(tmp_path), Lake(url=lake_url)
    materialize(recipe, lake)
    Path(recipe.corpus.opt_out_list).write_text(f"{entry}\n")
    listed = read_opt_outs(recipe.corpus.opt_out_list)
    names = {opt_out.name for opt_out in listed}
    traced = traces(lake_url, names, STAGES)
    assert [(trace.asset, trace.num_rows) for trace in traced] == [
        ("raw_code_corpus", 1),
        ("documents", 1),
    ]
    (raw,) = current_artifacts(lake, recipe, "raw_code_corpus")
    (match,) = matches(recipe.corpus, listed, {raw.partition: raw.folder})
    assert (match.sources, match.num_documents) == (("stdlib",), 1)

    materialize(recipe, lake)
    found = purge.find(lake_url, opted_out=names, retention_days=7, now=0.0)
    assert {deletion.folder.rsplit("/", 3)[1] for deletion in found.deletions} == {
        "raw_code_corpus",
        "documents",
    }
    purge.act(lake_url, found, now=0.0)
    assert traces(lake_url, names, STAGES) == []
    # What was made from a purged source, and is left, is still found by the same name.
    assert not shards.is_finished(raw.folder)
    assert with_ingested_names(names, [raw.folder]) == {*names, "click"}


def test_every_name_of_a_repository_is_recorded_beside_its_shards(
    tmp_path: Path, lake_url: str
) -> None:
    recipe, lake = a_recipe(tmp_path), Lake(url=lake_url)
    materialize(recipe, lake)
    (raw,) = current_artifacts(lake, recipe, "raw_code_corpus")
    assert ingested_names(raw.folder) == {
        "click": ["click", "pallets/click"],
        "jinja": ["jinja"],
    }
    assert traces(lake_url, ["nobody/nothing"], STAGES) == []


@pytest.mark.parametrize(
    "remote",
    [
        "https://ada:ghp_0123456789@github.com/pallets/click.git",
        "https://ghp_0123456789@git.example.org/pallets/click",
        "https://ada:ghp_0123456789@git.example.org/a b/%%%",
    ],
)
def test_a_token_in_a_remote_s_url_does_not_reach_the_lake(
    remote: str, tmp_path: Path, lake_url: str
) -> None:
    recipe = a_recipe(tmp_path)
    git(tmp_path / "code" / "click", "remote", "set-url", "origin", remote)
    materialize(recipe, Lake(url=lake_url))
    Path(recipe.corpus.opt_out_list).write_text("pallets/click\n")
    materialize(recipe, Lake(url=lake_url))  # and refused by it, with a row that names it
    files = [path for path in Path(lake_url).rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if b"ghp_" in path.read_bytes()] == []
