"""Purging deletes what nobody needs and what opted out, never what is current."""

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from snow_assets.cli.purge import show
from snow_assets.defs.graph import STAGES
from snow_assets.planning import purge
from snow_assets.planning.opt_out_traces import markdown, traces
from snow_assets.recipe import SMOKE, Recipe
from snow_assets.stages import as_json
from snow_assets.storage import shards
from snow_assets.storage.schemas.pretraining import SEEN
from snow_assets.storage.schemas.quality import SCORE
from tests.artifacts import finish, point
from tests.curation.builders import a_file, raw_corpus

DAY = 86_400.0
DOCUMENT = pa.schema([(name, pa.string()) for name in ("document_id", "text_id", "repository")])
CHILD = pa.schema([("document_id", pa.string()), ("seed_repository", pa.string())])


def made(
    lake: str,
    place: str,
    inputs: list[str],
    table: tuple[str, list[dict[str, object]]],
    schema: pa.Schema,
) -> str:
    """A finished artifact `asset/partition/name` with one shard."""
    folder = f"{lake}/{place}"
    name, rows = table
    shards.put_table(folder, name, 0, [dict.fromkeys(schema.names) | row for row in rows], schema)
    return finish(folder, inputs=inputs)


def a_lake(lake: str, *, name: str = "0" * 32, phase: str = "general") -> dict[str, str]:
    """Two repositories from the source to a checkpoint, `tar` and `feather`; all current."""
    files = [a_file("a.py", f"x = '{one}'", repository=one) for one in ("tar", "feather")]
    raw = raw_corpus(lake, files)
    rows: list[dict[str, object]] = [
        {
            "document_id": row["document_id"],
            "text_id": row["raw_id"],
            "repository": row["repository"],
        }
        for row in files
    ]
    documents = made(lake, f"documents/src/{name}", [raw], ("documents", rows), DOCUMENT)
    score: dict[str, object] = {"annotator": "v", "logit": 0.0, "top_logit": 0.0, "num_windows": 1}
    scores: list[dict[str, object]] = [{**score, "text_id": row["text_id"]} for row in rows]
    scored = made(lake, f"quality_scores/python/{name}", [documents], ("scores", scores), SCORE)
    children: list[dict[str, object]] = [
        {"document_id": "child", "seed_repository": "tar"},
        {"document_id": "other", "seed_repository": "feather"},
    ]
    synthetic = made(lake, f"synthetic_set/all/{name}", [scored], ("documents", children), CHILD)
    seen: list[dict[str, object]] = [
        {
            "document_id": one,
            "text_id": one,
            "repository": repository,
            "license": "MIT",
            "language": "python",
            "num_tokens": 7,
            "num_passes": 1,
        }
        for one, repository in (("child", "synthetic"), ("a", "tar"), ("b", "feather"))
    ]
    packs = made(lake, f"{phase}_packs/all/{name}", [synthetic], ("packs", rows), DOCUMENT)
    checkpoint = made(lake, f"{phase}_checkpoint/all/{name}", [packs], ("seen", seen), SEEN)
    found = {
        "raw": raw,
        "documents": documents,
        "scores": scored,
        "synthetic": synthetic,
        "packs": packs,
        "checkpoint": checkpoint,
    }
    for folder in found.values():
        point(lake, folder)
    return found


def make_anew(lake: str, *, but: tuple[str, ...] = (), phase: str = "general") -> None:
    """The next run after `tar` opted out: every asset but the checkpoint has a new fingerprint."""
    folder = f"{lake}/raw_code_corpus/src/{'1' * 32}"
    from snow_assets.storage.schemas.corpus import RAW_FILE

    shards.put_table(folder, "files", 0, [a_file("a.py", "x", repository="feather")], RAW_FILE)
    fresh = [finish(folder)]
    for place in (
        "documents/src",
        "quality_scores/python",
        "synthetic_set/all",
        f"{phase}_packs/all",
    ):
        one = f"{lake}/{place}/{'1' * 32}"
        shards.put_table(one, "none", 0, [], DOCUMENT)
        fresh.append(finish(one, inputs=fresh[-1:]))
    for one in fresh:
        if one.rsplit("/", 3)[1] not in but:
            point(lake, one)


def found(lake: str, *, opted_out: tuple[str, ...] = (), days: float = 0.0) -> purge.Purge:
    """A purge `days` after everything was written."""
    newest = max(path.stat().st_mtime for path in Path(lake).rglob("*"))
    return purge.find(lake, opted_out=opted_out, retention_days=7, now=newest + days * DAY)


def names(some: list[purge.Candidate]) -> set[str]:
    return {one.folder.rsplit("/", 3)[1] for one in some}


def test_where_a_repository_had_been_is_told_down_to_the_checkpoint(lake_url: str) -> None:
    a_lake(lake_url)
    told = {one.asset: (one.num_rows, one.num_tokens) for one in traces(lake_url, ["tar"], STAGES)}
    assert told == {
        "raw_code_corpus": (1, 0),
        "documents": (1, 0),
        "synthetic_set": (1, 0),
        "general_checkpoint": (2, 14),  # its own file, and the child that it seeded
        "quality_scores": (1, 0),
    }
    assert "general_checkpoint [all]" in markdown(traces(lake_url, ["tar"], STAGES))
    assert traces(lake_url, ["nobody"], STAGES) == []


def test_current_artifacts_are_never_purged(lake_url: str) -> None:
    a_lake(lake_url)
    done = found(lake_url, days=1000)
    assert (done.deletions, done.held, done.reported) == ([], [], [])


def test_a_text_that_others_hold_too_is_no_trace_of_a_score(lake_url: str) -> None:
    raw = raw_corpus(lake_url, [a_file("a.py", "x = 1", repository="tar")])
    rows: list[dict[str, object]] = [
        {"document_id": one, "text_id": "same", "repository": one} for one in ("tar", "feather")
    ]
    documents = made(lake_url, "documents/src/one", [raw], ("documents", rows), DOCUMENT)
    score = {"text_id": "same", "annotator": "v", "logit": 0.0, "top_logit": 0.0, "num_windows": 1}
    made(lake_url, "quality_scores/python/one", [documents], ("scores", [{**score}]), SCORE)
    assert {one.asset for one in traces(lake_url, ["tar"], STAGES)} == {
        "raw_code_corpus",
        "documents",
    }


def test_opted_out_text_that_is_current_is_held_and_its_holder_is_named(lake_url: str) -> None:
    a_lake(lake_url)
    make_anew(lake_url, but=("general_packs",))
    done = found(lake_url, opted_out=("tar",))
    assert done.deletions == []
    assert names(done.held) == {"raw_code_corpus", "documents", "synthetic_set", "general_packs"}
    assert {one.reason for one in done.held} == {"opted out, and current general_packs needs it"}


def test_after_the_next_run_every_copy_goes_at_once_and_the_checkpoint_is_reported(
    lake_url: str,
) -> None:
    old = a_lake(lake_url)
    make_anew(lake_url)
    done = found(lake_url, opted_out=("tar",))
    assert names(done.deletions) == {
        "raw_code_corpus",
        "documents",
        "synthetic_set",
        "general_packs",
    }
    assert done.held == []
    assert {one.asset for one in done.reported} == {"quality_scores", "general_checkpoint"}
    purge.act(lake_url, done, now=1.0)
    for name, folder in old.items():
        assert Path(folder).exists() is (name in ("scores", "checkpoint")), name
    assert found(lake_url, opted_out=("tar",)).deletions == []


def test_the_checkpoint_of_another_recipe_s_phase_is_traced_and_reported_too(lake_url: str) -> None:
    old = a_lake(lake_url, phase="annealing")
    make_anew(lake_url, phase="annealing")
    done = found(lake_url, opted_out=("tar",))
    assert "annealing_packs" in names(done.deletions)
    assert {one.asset for one in done.reported} == {"quality_scores", "annealing_checkpoint"}
    purge.act(lake_url, done, now=1.0)
    assert Path(old["checkpoint"]).exists()


def compare(lake: str, checkpoint: str) -> None:
    """A current comparison of an arm that was measured with a checkpoint."""
    arm = finish(f"{lake}/experiment_arms/claim-random-0/{'0' * 32}", inputs=[checkpoint])
    comparisons = finish(f"{lake}/experiment_comparisons/claim/{'0' * 32}", inputs=[arm])
    point(lake, comparisons)


def test_what_a_comparison_rests_on_goes_if_it_opted_out(lake_url: str) -> None:
    old = a_lake(lake_url)
    compare(lake_url, old["checkpoint"])
    make_anew(lake_url)
    done = found(lake_url, opted_out=("tar",))
    assert names(done.deletions) == {
        "raw_code_corpus",
        "documents",
        "synthetic_set",
        "general_packs",
    }
    assert {one.reason for one in done.deletions} == {
        "opted out; current experiment_comparisons [claim] rested on it"
    }
    assert done.held == []


def test_the_arms_of_a_current_comparison_stay_although_no_pointer_names_them(
    lake_url: str,
) -> None:
    old = a_lake(lake_url)
    compare(lake_url, old["checkpoint"])
    assert found(lake_url, days=1000).deletions == []


def damage_documents(folder: str) -> None:
    (shard,) = Path(folder).glob("documents-*.parquet")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


def test_damaged_rows_may_be_an_opted_out_repositorys_and_stop_no_opt_out(lake_url: str) -> None:
    old = a_lake(lake_url)
    damage_documents(old["documents"])
    (trace,) = traces(lake_url, ["whoever"], STAGES)
    assert (trace.asset, trace.num_rows) == ("documents", 0)
    assert "what is damaged" in markdown([trace])
    held = found(lake_url, opted_out=("whoever",)).held
    assert names(held) == {"documents"}
    assert "damaged, and current" in held[0].reason

    make_anew(lake_url)
    done = found(lake_url, opted_out=("whoever",))
    assert names(done.deletions) == {"documents"}
    assert done.deletions[0].reason == "damaged: what opted out may stand in it"


def test_a_tombstone_keeps_the_digests(lake_url: str) -> None:
    old = a_lake(lake_url)
    make_anew(lake_url)
    digest = shards.manifest(old["raw"]).digest
    purge.act(lake_url, found(lake_url, opted_out=("tar",)), now=1.0)
    place = old["raw"].removeprefix(lake_url).strip("/")
    told = shards.get(f"{lake_url}/tombstones/{place}.json").decode()
    assert digest in told
    assert '"reason": "opted out"' in told


def test_what_a_checkpoint_was_made_from_stays_although_no_pointer_names_it(
    lake_url: str,
) -> None:
    a_lake(lake_url)
    make_anew(lake_url)
    assert found(lake_url, days=1000).deletions == []


@pytest.mark.parametrize(("days", "goes"), [(6.0, False), (8.0, True)])
def test_an_unreferenced_artifact_goes_after_its_retention(
    lake_url: str, days: float, goes: bool
) -> None:
    a_lake(lake_url)
    made(lake_url, "documents/src/old", [], ("documents", []), DOCUMENT)
    made(lake_url, "quality_scores/python/old", [], ("scores", []), SCORE)  # history: it stays
    done = found(lake_url, days=days)
    assert [one.reason for one in done.deletions] == ["unreferenced"] * goes


@pytest.mark.parametrize(("days", "goes"), [(6.0, False), (8.0, True)])
def test_unfinished_work_goes_when_nobody_touched_it_for_the_retention(
    lake_url: str, days: float, goes: bool
) -> None:
    folder = f"{lake_url}/documents/src/half"
    shards.put_table(folder, "documents", 0, [], DOCUMENT)
    done = found(lake_url, days=days)
    assert len(done.deletions) == goes
    purge.act(lake_url, done, now=1.0)
    assert Path(folder).exists() is not goes


def test_the_job_that_wrote_a_deleted_artifact_runs_again_where_it_is_wanted_back(
    lake_url: str,
) -> None:
    a_lake(lake_url)
    old = made(lake_url, "documents/src/old", [], ("documents", []), DOCUMENT)
    kept = made(lake_url, "quality_scores/python/old", [], ("scores", []), SCORE)
    # An experiment's arm has the jobs of all its stages under its own asset.
    jobs = [
        (f"{lake_url}/jobs/experiment_arms/paper_claims-random-0/d/attempt-001", old),
        (f"{lake_url}/jobs/quality_scores/python/d/attempt-001", kept),
    ]
    for job, output in jobs:
        shards.put(f"{job}/request.json", json.dumps({"output": output}).encode())
        shards.put(f"{job}/report.json", b"{}")
    purge.act(lake_url, found(lake_url, days=8.0), now=1.0)
    assert [shards.exists(f"{job}/report.json") for job, _ in jobs] == [False, True]


def test_a_dry_run_says_so_and_deletes_nothing(lake_url: str) -> None:
    from rich.console import Console

    old = a_lake(lake_url)
    make_anew(lake_url)
    with Path(os.devnull).open("w") as nowhere:
        console = Console(width=150, record=True, file=nowhere)
        show(console, found(lake_url, opted_out=("tar",)), is_done=False)
    text = console.export_text()
    assert "Would delete 4 artifacts" in text
    assert "remains: general_checkpoint [all]" in text
    assert "Nothing was deleted" in text
    assert all(Path(folder).exists() for folder in old.values())


def test_unfinished_work_under_other_numbers_goes_when_it_is_given_up(lake_url: str) -> None:
    def of(days: float) -> Recipe:
        return replace(SMOKE, operation=replace(SMOKE.operation, retention_days=days))

    for name, days in (("mine", 1.0), ("former", 2.0)):
        folder = f"{lake_url}/documents/src/{name}"
        note = shards.InProgress(
            recipe="SMOKE",
            recipe_values=as_json(of(days)),
            code_version="1",
            config={},
            inputs=[],
            started=0.0,
        )
        shards.mark_in_progress(folder, note)
        shards.put_table(folder, "documents", 0, [], DOCUMENT)
    done = purge.find(
        lake_url, opted_out=(), retention_days=7, now=time.time(), abandoned_by=of(1.0)
    )
    assert [one.folder for one in done.deletions] == [f"{lake_url}/documents/src/former"]
