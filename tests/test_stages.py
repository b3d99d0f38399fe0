"""A stage is stated once: Dagster's graph follows from the specifications, and no list of stages is
kept by hand beside them."""

import ast
import inspect
from dataclasses import replace
from functools import partial
from pathlib import Path

import dagster as dg
import pytest

from snow_assets.definitions import defs
from snow_assets.defs.corpus import opt_outs
from snow_assets.defs.dedup import near_duplicates
from snow_assets.defs.documents import documents
from snow_assets.defs.graph import STAGE_BY_NAME, STAGES
from snow_assets.defs.materialize import current_artifact
from snow_assets.home import CHECKOUT
from snow_assets.recipe import SMOKE, chosen_recipe
from snow_assets.stages import OWNERS, StageInputs
from snow_resources.lake import Lake

GRAPH = defs.resolve_asset_graph()


def test_every_stage_stands_after_those_that_it_reads() -> None:
    names = [stage.name for stage in STAGES]
    assert len(set(names)) == len(names)
    for stage in STAGES:
        for read in stage.inputs:
            assert names.index(read.stage.name) < names.index(stage.name)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_dagster_shows_what_the_stage_states(stage: object) -> None:
    specification = STAGE_BY_NAME[stage.name]
    node = GRAPH.get(dg.AssetKey(specification.name))
    assert {key.path[-1] for key in node.parent_keys} == {
        read.stage.name for read in specification.inputs_of(chosen_recipe())
    }
    assert node.code_version == specification.code_version
    assert list(node.owners) == [OWNERS[specification.group]]
    assert specification.kinds <= node.kinds
    assert node.description == specification.description
    schema = node.metadata.get("dagster/column_schema")
    columns = [column.name for column in schema.columns] if schema else []
    assert columns == (specification.tables[0].schema.names if specification.tables else [])


def test_the_stages_that_use_the_exchange_are_the_distributed_ones() -> None:
    users = {each.name for each in STAGES if "open_exchange()" in inspect.getsource(each.run)}
    assert users == {each.name for each in STAGES if each.is_distributed(chosen_recipe())}


def test_a_tokenizer_is_trained_in_a_job_of_nodes_and_a_pretrained_one_is_read_by_the_run() -> None:
    operation = replace(SMOKE.operation, curation=replace(SMOKE.operation.curation, nodes=2))
    trained = replace(SMOKE, operation=operation)
    settings = replace(SMOKE.curation.tokenizer, pretrained="/folder")
    pretrained = replace(trained, curation=replace(SMOKE.curation, tokenizer=settings))
    stage = STAGE_BY_NAME["tokenizer"]
    assert stage.is_job(trained) and not stage.is_job(pretrained) and not stage.is_job(SMOKE)


def test_an_input_that_is_not_declared_cannot_be_read(lake_url: str) -> None:
    lake = Lake(url=lake_url)
    inputs = StageInputs(
        stage=near_duplicates,
        partition="all",
        recipe=SMOKE,
        lake=lake,
        resolve=partial(current_artifact, lake, SMOKE),
    )
    with pytest.raises(KeyError, match="near_duplicates declares no input opt_outs"):
        inputs.input(opt_outs)
    with pytest.raises(KeyError, match="declares no input documents"):
        inputs.input(documents)  # it reads all partitions


def test_no_list_of_stages_is_kept_by_hand() -> None:
    """A literal with two names of stages is such a list; the specifications are the only one."""
    ambiguous = {"documents", "signatures", "tokenizer", "contamination", "near_duplicates"}
    ambiguous |= {"candidate_pairs", "exemplars"}  # also names of tables, columns and recipe fields
    names = set(STAGE_BY_NAME) - ambiguous
    lists = []
    for path in sorted(Path(CHECKOUT, "snow_assets").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict):
                literals = {
                    item.value
                    for item in ast.walk(node)
                    if isinstance(item, ast.Constant) and isinstance(item.value, str)
                }
                if len(literals & names) > 1:
                    lists.append(f"{path.name}:{node.lineno}: {sorted(literals & names)}")
    assert lists == []
