import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import dagster as dg
import pytest

from snow_assets.defs import curation, dedup, documents
from snow_assets.defs import curation_checks as checks
from snow_assets.defs.corpus import raw_code_corpus
from snow_assets.defs.materialize import current_artifact, current_artifacts
from snow_assets.recipe import SMOKE, Recipe
from snow_assets.stages import Input, Stage, StageInputs, StageResult
from snow_assets.storage import shards
from snow_resources.lake import Lake
from snow_resources.tracking import Tracking
from tests.artifacts import point
from tests.curation.builders import a_file, a_problem, a_program, problems, raw_corpus
from tests.stage_assets import asset_of

STDLIB = SMOKE.corpus.sources[0].name  # a partition of the graph


def of_sources(*names: str) -> Recipe:
    """SMOKE with other sources, under its own name."""
    sources = tuple(replace(SMOKE.corpus.sources[0], name=name) for name in names)
    return replace(SMOKE, corpus=replace(SMOKE.corpus, sources=sources))


def test_a_source_that_the_recipe_dropped_is_no_input_and_a_missing_one_is_named(
    lake_url: str,
) -> None:
    lake = Lake(url=lake_url)
    for source in ("new", "old"):
        point(lake_url, raw_corpus(lake_url, [a_file("a.py", a_program(source))], source=source))

    def inputs_of(recipe: Recipe) -> StageInputs:
        resolve = partial(current_artifact, lake, recipe)
        reader = Stage(
            name="reader",
            description="",
            group="curation",
            code_version="1",
            run=lambda _: StageResult(stats={}),
            inputs=(Input(stage=raw_code_corpus),),
        )
        return StageInputs(stage=reader, partition="all", recipe=recipe, lake=lake, resolve=resolve)

    (artifact,) = inputs_of(of_sources("new")).inputs(raw_code_corpus)
    assert artifact.partition == "new"
    assert current_artifacts(lake, of_sources("new"), raw_code_corpus.name) == [artifact]
    with pytest.raises(
        FileNotFoundError, match=r"raw_code_corpus \[newer\] .*materialize it first"
    ):
        inputs_of(of_sources("new", "newer")).inputs(raw_code_corpus)


@pytest.mark.slow
def test_the_assets_make_a_clean_corpus_whose_checks_pass_and_reuse_it(lake_url: str) -> None:
    files = [
        *(
            a_file(f"{n}.py", a_program(f"{name}{n}"), repository=name, source=STDLIB)
            for name in ("amber", "birch")
            for n in range(3)
        ),
        a_file("quoting.py", a_problem()["prompt"] + a_problem()["solution"], source=STDLIB),
    ]
    point(lake_url, raw_corpus(lake_url, files, source=STDLIB))
    point(lake_url, problems(lake_url, [a_problem()]))
    instance = dg.DagsterInstance.ephemeral()
    resources = {
        "lake": Lake(url=lake_url),
        "tracking": Tracking(uri=""),
        "recipe": of_sources(STDLIB),
    }

    def run(stage: Stage, partition: str | None, *also: dg.AssetChecksDefinition) -> bool:
        done = dg.materialize(
            [asset_of(stage), *also],
            instance=instance,
            resources=resources,
            partition_key=partition,
        )
        assert all(check.passed for check in done.get_asset_check_evaluations())
        assert len(done.get_asset_check_evaluations()) == len(also)
        (event,) = done.get_asset_materialization_events()
        return bool(event.materialization.metadata["reused"].value)

    stages: tuple[tuple[Stage, str | None, list[dg.AssetChecksDefinition]], ...] = (
        (documents.documents, STDLIB, [checks.documents_add_up]),
        (dedup.signatures, STDLIB, []),
        (dedup.candidate_pairs, None, []),
        (dedup.verified_pairs, None, []),
        (dedup.near_duplicates, None, [checks.clusters_have_one_canonical_document]),
        (curation.held_out_repositories, None, []),
        (curation.contamination, STDLIB, []),
        (curation.tokenizer, None, []),
        (
            curation.clean_corpus,
            "python",
            [
                checks.decisions_add_up,
                checks.no_kept_document_is_contaminated,
                checks.split_is_disjoint,
            ],
        ),
        (curation.dataset_exports, "python", []),
    )
    for is_again in (False, True):
        for stage, partition, also in stages:
            assert run(stage, partition, *also) is is_again

    (clean,) = shards.names(f"{lake_url}/clean_corpus/python")
    stats = shards.manifest(f"{lake_url}/clean_corpus/python/{clean}").stats
    assert (stats["documents"], stats["kept"], stats["dropped_contaminated"]) == (7, 6, 1)


@pytest.mark.slow  # two processes
def test_other_folders_hash_seeds_and_times_change_no_digest(tmp_path: Path) -> None:
    digests = []
    for name, seed in (("first", "1"), ("second home", "77")):
        done = subprocess.run(
            [sys.executable, "-m", "tests.curation.digests", str(tmp_path / name)],
            env={**os.environ, "PYTHONHASHSEED": seed, "TZ": f"UTC-{len(name)}"},
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        digests.append(json.loads(done.stdout.splitlines()[-1]))
    assert len(digests[0]) >= 9
    assert digests[0] == digests[1]
