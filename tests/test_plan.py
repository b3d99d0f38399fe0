"""A plan says what would be done and why, and does nothing."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from rich.console import Console

from snow_assets.cli.plan import compare, show
from snow_assets.defs.corpus import benchmark_problems, exemplars, opt_outs, raw_code_corpus
from snow_assets.defs.documents import documents
from snow_assets.defs.graph import STAGES
from snow_assets.defs.materialize import current_artifact
from snow_assets.defs.pretraining import CHECKPOINTS
from snow_assets.defs.quality import quality_scores
from snow_assets.defs.synthesis import teacher_model
from snow_assets.defs.unfinished import MixedConfigError
from snow_assets.planning import estimates
from snow_assets.planning.history import Past
from snow_assets.planning.plan import plan
from snow_assets.planning.plan_steps import Plan, Step
from snow_assets.recipe import ARCTIC, SMOKE, Recipe
from snow_assets.stages import Input, Stage, StageInputs, StageResult, StageRun, stage
from snow_assets.storage import shards
from snow_assets.storage.sizes import Size
from snow_resources.lake import Lake
from snow_resources.tracking import Tracking
from tests.stage_assets import assets_of

GENERAL = CHECKPOINTS["general"]
ROW = pa.schema([pa.field("word", pa.string()), pa.field("num_tokens", pa.int64())])


def put_words(folder: str, words: str) -> StageResult:
    for index, word in enumerate(words.split()):
        if shards.record(folder, shards.table_name("words", index)) is None:
            shards.put_table(folder, "words", index, [{"word": word, "num_tokens": 5}], ROW)
    return StageResult(stats={"num_words": len(words.split())})


def a_graph(words: str = "one two", code_version: str = "1") -> list[Stage]:
    """Words, a copy of them that works off new shards only, and a count that reads its input."""

    @stage(group="corpus", code_version="1", config=lambda _: {"words": words})
    def words_said(run: StageRun) -> StageResult:
        return put_words(run.folder, words)

    @stage(
        group="corpus",
        code_version=code_version,
        inputs=(Input(stage=words_said),),
        config=lambda inputs: {"selection": inputs.recipe.selection},
        incremental_input=words_said,
    )
    def words_heard(run: StageRun) -> StageResult:
        return put_words(run.folder, words)

    def count_config(inputs: StageInputs) -> Any:
        return {"count": shards.manifest(inputs.input(words_heard).folder).stats["num_words"]}

    @stage(
        group="corpus", code_version="1", inputs=(Input(stage=words_heard),), config=count_config
    )
    def words_counted(run: StageRun) -> StageResult:
        return put_words(run.folder, "count")

    return [words_said, words_heard, words_counted]


@dataclass
class Home:
    lake: Lake
    recipe: Recipe = SMOKE
    stages: list[Stage] = field(default_factory=a_graph)

    @property
    def resources(self) -> dict[str, Any]:
        return {"lake": self.lake, "recipe": self.recipe, "tracking": Tracking(uri="")}

    def run(self, *names: str) -> None:
        assets = assets_of(*self.stages, recipe=self.recipe)
        defs = dg.Definitions(assets=assets, resources=self.resources)
        graph = defs.resolve_implicit_global_asset_job_def()
        for name in names or ("words_said", "words_heard", "words_counted"):
            graph.execute_in_process(asset_selection=[dg.AssetKey(name)])

    def plan(self) -> Plan:
        return plan(self.stages, self.lake, self.recipe, self.resources)

    def told(self) -> dict[str, tuple[str, tuple[str, ...]]]:
        return {step.asset: (step.action, step.reasons) for step in self.plan().steps}


@pytest.fixture
def home(lake_url: str) -> Home:
    return Home(Lake(url=lake_url))


def with_budget(budget_tokens: int) -> Recipe:
    return replace(SMOKE, selection=replace(SMOKE.selection, budget_tokens=budget_tokens))


def test_what_was_never_made_is_planned_and_nothing_is_written(home: Home) -> None:
    assert home.told() == {
        "words_said": ("redo", ("never made",)),
        "words_heard": ("redo", ("never made",)),
        "words_counted": ("redo", ("never made",)),
    }
    assert not Path(home.lake.url).exists()


def test_what_is_finished_is_reused_and_costs_nothing(home: Home) -> None:
    home.run()
    found = home.plan()
    assert {(step.action, step.reasons, step.cost) for step in found.steps} == {("reuse", (), None)}
    assert found.steps[0].size.documents == 2
    assert found.steps[0].size.tokens == 10


def test_a_changed_number_is_named_and_what_reads_it_waits_for_it(home: Home) -> None:
    home.run()
    home.recipe = with_budget(500_000)
    told = home.told()
    assert told["words_said"] == ("reuse", ())
    assert told["words_heard"] == ("redo", ("selection.budget_tokens 400000 -> 500000",))
    assert told["words_counted"] == ("redo", ("its input words_heard changes",))


def test_a_changed_code_version_is_named(home: Home) -> None:
    home.run()
    home.stages = a_graph(code_version="2")
    assert home.told()["words_heard"] == ("redo", ("code version 1 -> 2",))


def test_of_an_incremental_asset_only_the_new_shards_are_counted(home: Home) -> None:
    home.run()
    home.stages = a_graph("one two three")
    home.run("words_said")
    (_, heard, _) = home.plan().steps
    assert (heard.action, heard.new_shards, heard.all_shards) == ("new shards", 1, 3)
    assert heard.reasons == ("its input words_said has changed",)


def test_another_number_makes_an_incremental_asset_anew_as_a_whole(home: Home) -> None:
    home.run()
    home.stages = a_graph("one two three")
    home.run("words_said")
    home.recipe = with_budget(500_000)
    assert home.told()["words_heard"][0] == "redo"


def test_an_artifact_of_before_is_found_again(home: Home) -> None:
    home.run()
    home.recipe = with_budget(500_000)
    home.run("words_heard")
    home.recipe = SMOKE
    assert home.told()["words_heard"] == ("reuse", ("made earlier, not the current one",))


def test_an_unfinished_artifact_is_gone_on_with(home: Home) -> None:
    home.run()
    ((folder, finished),) = (
        (made.folder, made) for made in [current_artifact(home.lake, SMOKE, "words_heard")]
    )
    shards.remove(shards.join(folder, "manifest.json"))
    assert finished.fingerprint in folder
    outcome, reasons = home.told()["words_heard"]
    assert (outcome, reasons[0]) == ("go on", "2 files are there already")


def test_unfinished_work_under_other_numbers_is_named_with_what_differs(home: Home) -> None:
    home.run()
    folder = current_artifact(home.lake, SMOKE, "words_heard").folder
    shards.remove(shards.join(folder, "manifest.json"))
    shards.remove(home.lake.pointer("SMOKE", "words_heard", "all"))
    home.recipe = with_budget(500_000)
    (left,) = home.plan().unfinished
    assert (left.asset, left.num_files, left.recipe) == ("words_heard", 2, "SMOKE")
    assert left.reasons == ("selection.budget_tokens 400000 -> 500000",)


def test_a_fault_of_the_set_up_is_told_before_anything_runs(home: Home) -> None:
    def broken_config(inputs: StageInputs) -> Any:
        raise ValueError(f"the model of {inputs.recipe.name} is not there: put it there")

    @stage(group="corpus", code_version="1", config=broken_config)
    def broken(run: StageRun) -> StageResult:
        return StageResult(stats={})

    home.stages = [broken]
    assert home.told() == {"broken": ("fails", ("the model of SMOKE is not there: put it there",))}


def test_an_estimate_follows_past_runs_and_its_error_is_told(home: Home) -> None:
    home.run()
    folder = current_artifact(home.lake, SMOKE, "words_heard").folder
    taken = shards.manifest(folder).seconds
    home.recipe = with_budget(500_000)
    heard = home.plan().steps[1]
    assert heard.cost is not None
    assert heard.cost.is_measured
    assert heard.cost.seconds == pytest.approx(taken)
    past = Past(lake=home.lake, recipe=home.recipe)
    past.keep_estimates({"words_heard/all": 2.0}, now=0.0)
    assert Past(lake=home.lake, recipe=home.recipe).last_estimate() == (2.0, pytest.approx(taken))


def test_a_recipe_that_never_ran_is_estimated_by_its_stated_rates() -> None:
    size = estimates.first_size(GENERAL, ARCTIC, num_partitions=1)
    assert size.tokens == ARCTIC.pretraining.phase("general").tokens
    seconds = estimates.stated_seconds(GENERAL, ARCTIC, size)
    # Six operations a weight and token, 1.36 billion weights (docs/recipe.md).
    flops = 6 * 1.36e9 * ARCTIC.pretraining.phase("general").tokens
    assert seconds == pytest.approx(flops / 4e14 / 8, rel=0.01)
    cost = estimates.cost(GENERAL, ARCTIC, seconds, is_measured=False)
    assert cost.gpu_hours == pytest.approx(8 * seconds / 3600)
    assert cost.price == pytest.approx(cost.gpu_hours * 2.5)


def test_a_job_on_gpus_is_not_estimated_by_another_recipe_s_runs(tmp_path: Path) -> None:
    """The demo trains on a CPU, in the same lake."""
    lake = Lake(url=str(tmp_path))
    shards.finish(
        lake.artifact("general_checkpoint", "all", "0" * 32),
        asset="general_checkpoint",
        partition="all",
        fingerprint="0" * 32,
        code_version=GENERAL.code_version,
        recipe="SMOKE",
        config={"phase": {"tokens": 102_400}},
        inputs=[],
        stats={},
        seconds=14.0,
    )
    on_a_cpu = Past(lake=lake, recipe=replace(SMOKE, name="OTHER"))
    assert on_a_cpu.seconds(GENERAL, Size()) == pytest.approx(14.0)
    assert Past(lake=lake, recipe=ARCTIC).seconds(GENERAL, Size()) is None
    named = replace(ARCTIC, name="SMOKE")
    tokens = ARCTIC.pretraining.phase("general").tokens
    own = Past(lake=lake, recipe=named).seconds(GENERAL, Size())
    assert own == pytest.approx(14.0 / 102_400 * tokens)


def test_every_step_of_a_model_has_a_stated_cost_before_it_ever_ran(tmp_path: Path) -> None:
    past = Past(lake=Lake(url=str(tmp_path)), recipe=SMOKE)
    model_stages = [stage for stage in STAGES if "jobs" in stage.resources]
    assert len(model_stages) == 6 + len(SMOKE.pretraining.phases)
    for model_stage in model_stages:
        size = estimates.first_size(model_stage, SMOKE, num_partitions=3)
        cost = past.cost(model_stage, reads=Size(), makes=size)
        if model_stage is teacher_model:
            continue
        assert cost.is_known
        assert cost.seconds > 0


def test_a_fresh_home_s_sizes_follow_the_files_of_its_sources(home: Home, tmp_path: Path) -> None:
    for name, count in (("large", 40), ("small", 4)):
        (tmp_path / name / "lib").mkdir(parents=True)
        for number in range(count):
            (tmp_path / name / "lib" / f"m{number}.py").write_text("x" * 1_000)
    sources = tuple(
        replace(
            SMOKE.corpus.sources[0],
            name=name,
            kind="folder",
            locations=(str(tmp_path / name),),
            files_per_repository=None,
        )
        for name in ("large", "small")
    )
    home.recipe = replace(SMOKE, corpus=replace(SMOKE.corpus, sources=sources))
    home.stages = [opt_outs, benchmark_problems, exemplars, raw_code_corpus, documents]
    sizes = {(step.asset, step.partition): step.size for step in home.plan().steps}
    for read, fraction in ((raw_code_corpus, 0.23), (documents, 0.24)):
        assert sizes[read.name, "large"].num_bytes == pytest.approx(40_000 * fraction)
        assert sizes[read.name, "small"].documents == 4
        assert sizes[read.name, "small"].tokens == pytest.approx(4_000 / 3.6)


def test_scoring_takes_three_windows_of_a_document_however_long_it_is() -> None:
    size = Size(documents=1_000, tokens=10_000_000)
    seconds = estimates.stated_seconds(quality_scores, SMOKE, size)
    assert seconds == pytest.approx(3 * 48 * 1_000 / 2_000)


def test_a_size_that_nobody_knows_is_not_shown_as_no_cost(tmp_path: Path) -> None:
    past = Past(lake=Lake(url=str(tmp_path)), recipe=ARCTIC)
    size = estimates.first_size(exemplars, ARCTIC, num_partitions=1)
    cost = past.cost(exemplars, reads=Size(), makes=size)
    steps = [Step(asset="exemplars", partition="all", action="redo", size=size, cost=cost)]
    with Path(os.devnull).open("w") as nowhere:
        console = Console(width=150, record=True, file=nowhere)
        show(console, Plan(recipe="R", lake="l", currency="USD", steps=steps, unfinished=[]))
    assert "exemplars  redo" in console.export_text(clear=False)
    assert "?    ?" in console.export_text()


def test_the_screen_tells_verdicts_reasons_and_the_sum(home: Home) -> None:
    home.run()
    home.recipe = with_budget(500_000)
    with Path(os.devnull).open("w") as nowhere:
        console = Console(width=150, record=True, file=nowhere)
        show(console, home.plan())
        compare(console, home.plan(), home.plan())
    text = console.export_text()
    assert "selection.budget_tokens 400000 -> 500000" in text
    assert "2 of 3 steps to do" in text


def test_partitions_of_an_asset_stand_on_one_line() -> None:
    steps = [Step(asset="a", partition=name, action="reuse") for name in ("c", "sql")]
    steps.append(Step(asset="a", partition="go", action="redo", reasons=("never made",)))
    found = Plan(recipe="R", lake="l", currency="USD", steps=steps, unfinished=[])
    with Path(os.devnull).open("w") as nowhere:
        console = Console(width=150, record=True, file=nowhere)
        show(console, found)
    assert "a [3]  2 reuse, 1 redo" in console.export_text()


def half_made(home: Home) -> str:
    """`words_heard` as a kill left it: its files, without a manifest and a pointer."""
    home.run("words_said", "words_heard")
    folder = current_artifact(home.lake, home.recipe, "words_heard").folder
    shards.remove(shards.join(folder, "manifest.json"))
    shards.remove(home.lake.pointer(home.recipe.name, "words_heard", "all"))
    return folder


def test_unfinished_work_is_not_mixed_with_a_changed_number(home: Home) -> None:
    folder = half_made(home)
    home.recipe = with_budget(500_000)
    with pytest.raises(
        MixedConfigError,
        match=r"budget_tokens 400000 -> 500000 \(2 files, .* Put them back .* another name .* drop",
    ):
        home.run("words_heard")
    home.recipe = SMOKE
    home.run("words_heard")
    assert shards.manifest(folder).seconds is None  # resumed


def test_another_recipe_and_new_data_may_pass_unfinished_work(home: Home) -> None:
    half_made(home)
    home.stages = a_graph("one two three")
    home.run("words_said", "words_heard")
    half_made(home)
    home.recipe = replace(with_budget(500_000), name="OTHER")
    home.run("words_said", "words_heard")
