"""From the registered model back to the last source by digest, and forward again."""

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from snow_assets.storage import shards
from snow_resources.warehouse import query
from tests.whole.conftest import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400), pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def client(smoke: Installation) -> MlflowClient:
    return MlflowClient(smoke.mlflow, smoke.mlflow)


def given_to(run: Run) -> list[tuple[str, str]]:
    """Names and whole digests of a run's input data sets."""
    found = []
    for entry in run.inputs.dataset_inputs:
        tags = {tag.key: tag.value for tag in entry.tags}
        if tags["mlflow.data.context"] == "input":
            found.append((entry.dataset.name, entry.dataset.digest))
    return sorted(found)


def maker_of(client: MlflowClient, name: str, digest: str) -> Run:
    """The run that a data set came out of, found by name and digest alone."""
    (experiment,) = [e for e in client.search_experiments() if e.name == "snow"]
    runs = client.search_runs(
        [experiment.experiment_id], f"dataset.name = '{name}' and dataset.digest = '{digest}'"
    )
    for run in runs:
        for entry in run.inputs.dataset_inputs:
            tags = {tag.key: tag.value for tag in entry.tags}
            if (entry.dataset.name, tags["mlflow.data.context"]) == (name, "output"):
                return run
    raise AssertionError(f"no run made {name} {digest}")


def test_the_registered_model_leads_back_to_every_source(
    smoke: Installation, client: MlflowClient
) -> None:
    version = client.get_registered_model("enhanced_checkpoint").latest_versions[0]
    seen: set[str] = set()
    waiting = [client.get_run(version.run_id)]
    manifests = 0
    while waiting:
        run = waiting.pop()
        for name, digest in given_to(run):
            if name in seen:
                continue
            seen.add(name)
            made = maker_of(client, name, digest)
            (output,) = [
                entry
                for entry in made.inputs.dataset_inputs
                if {tag.key: tag.value for tag in entry.tags}["mlflow.data.context"] == "output"
            ]
            folder = shards.join(smoke.lake, *_address(smoke, name, digest))
            assert shards.manifest(folder).digest.startswith(output.dataset.digest)
            manifests += 1
            waiting.append(made)
    assert {"raw_code_corpus/stdlib", "raw_code_corpus/distributions", "opt_outs/all"} <= seen
    assert {"continued_checkpoint/all", "general_checkpoint/all", "synthetic_set/all"} <= seen
    assert manifests == len(seen)


def _address(smoke: Installation, name: str, digest: str) -> tuple[str, str, str]:
    asset, partition = name.split("/")
    for fingerprint in shards.names(shards.join(smoke.lake, asset, partition)):
        folder = shards.join(smoke.lake, asset, partition, fingerprint)
        if shards.is_finished(folder) and shards.manifest(folder).digest.startswith(digest):
            return asset, partition, fingerprint
    raise AssertionError(f"the lake has no {name} {digest}")


def test_models_name_their_parents(client: MlflowClient) -> None:
    chain = []
    version = client.get_registered_model("enhanced_checkpoint").latest_versions[0]
    run = client.get_run(version.run_id)
    while run.inputs.model_inputs:
        (parent,) = run.inputs.model_inputs
        model = client.get_logged_model(parent.model_id)
        chain.append(model.name)
        run = client.get_run(model.source_run_id)
    assert chain == ["continued_checkpoint", "general_checkpoint"]


def test_a_source_repository_leads_forward_to_the_checkpoints_that_saw_it(
    smoke: Installation,
) -> None:
    rows = query(
        smoke.warehouse,
        "select repository, checkpoint, sum(num_tokens) from checkpoint_sources"
        " where repository = 'cpython' group by all",
    ).rows
    assert {checkpoint for _, checkpoint, _ in rows} >= {"general_checkpoint"}
    folder = _current(smoke, "general_checkpoint")
    seen = shards.read(folder, "seen").to_pylist()
    told = {checkpoint: tokens for _, checkpoint, tokens in rows}
    assert told["general_checkpoint"] == sum(
        row["num_tokens"] for row in seen if row["repository"] == "cpython"
    )


def _current(smoke: Installation, asset: str) -> str:
    from snow_assets.defs.materialize import current_artifact
    from snow_assets.recipe import SMOKE
    from snow_resources.lake import Lake

    return current_artifact(Lake(url=smoke.lake), SMOKE, asset).folder
