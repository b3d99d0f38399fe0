"""What a person sees and does in Dagster's UI: `make dev` in headless Chromium."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.whole.conftest import CHECKOUT, Installation, environment

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(
        CHROMIUM is None and "REQUIRE_BROWSER" not in os.environ,
        reason="no chromium on this machine; `apt-get install chromium`",
    ),
]
_START_SECONDS = 120
_PATIENCE_MS = 60_000

GROUPS = {
    "corpus": ["opt_outs", "raw_code_corpus", "benchmark_problems", "exemplars"],
    "curation": [
        "documents",
        "signatures",
        "contamination",
        "candidate_pairs",
        "verified_pairs",
        "near_duplicates",
        "held_out_repositories",
        "tokenizer",
        "clean_corpus",
        "dataset_exports",
    ],
    "quality": [
        "annotator_examples",
        "quality_annotator",
        "quality_scores",
        "high_quality_subset",
        "high_quality_dataset",
    ],
    "synthesis": ["teacher_model", "synthetic_completions", "synthetic_set", "synthetic_dataset"],
    "pretraining": [
        "general_packs",
        "continued_packs",
        "enhanced_packs",
        "general_checkpoint",
        "continued_checkpoint",
        "enhanced_checkpoint",
    ],
    "evaluation": ["benchmark_results"],
}
TABLES = [
    "document_quality",
    "quality_by_language",
    "score_histogram",
    "curation_funnel",
    "selection",
    "synthetic_yield",
    "checkpoint_scoreboard",
]


@pytest.fixture(scope="module")
def dagster_ui(smoke: Installation) -> Iterator[str]:
    """`make dev` over the whole installation; its webserver's address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (smoke.home / "dev.log").open("wb") as log:
        server = subprocess.Popen(
            ["make", "dev", f"PORT={port}"],
            cwd=CHECKOUT,
            env=environment(smoke.home),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(server, f"{url}/server_info", smoke)
        yield url
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # asked to end, it takes half a minute
        server.wait()


def _wait(server: "subprocess.Popen[bytes]", url: str, smoke: Installation) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError as error:
            told = (smoke.home / "dev.log").read_text(errors="replace")[-2000:]
            assert server.poll() is None, f"`make dev` ended with {server.returncode}: {told}"
            assert time.monotonic() < deadline, f"`make dev` does not serve: {error}; {told}"
            time.sleep(0.5)
        else:
            return


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        # Tall: Dagster draws only those rows of a list that can be seen.
        page = browser.new_page(viewport={"width": 1680, "height": 3000})
        page.set_default_timeout(_PATIENCE_MS)
        yield page
        browser.close()


@pytest.mark.parametrize("group", GROUPS)
def test_every_asset_stands_in_its_group_as_materialized(
    dagster_ui: str, page: Page, group: str
) -> None:
    page.goto(f"{dagster_ui}/locations/snow_assets.definitions/asset-groups/{group}/list")
    for name in GROUPS[group]:
        expect(page.get_by_text(name, exact=True).first).to_be_attached(timeout=_PATIENCE_MS)
    # Of a partitioned asset the list says "All" where each partition is materialized.
    done = re.compile(r"^(Materialized|All)$")
    # Of an asset without partitions (`graded_texts` of a recipe without grades) it says "All" for
    # each of four states.
    num_empty = int(group == "quality")
    empty = page.get_by_text("0 partitions", exact=True)
    expect(empty).to_have_count(num_empty, timeout=_PATIENCE_MS)
    count = len(GROUPS[group]) + 4 * num_empty
    expect(page.get_by_text(done)).to_have_count(count, timeout=_PATIENCE_MS)
    expect(page.get_by_text("Never materialized")).to_have_count(0)


def test_every_table_stands_in_its_group_as_materialized(dagster_ui: str, page: Page) -> None:
    page.goto(f"{dagster_ui}/locations/snow_assets.definitions/asset-groups/tables/list")
    for name in TABLES:
        expect(page.get_by_text(name, exact=True).first).to_be_attached(timeout=_PATIENCE_MS)
    expect(page.get_by_text("Never materialized")).to_have_count(0)


def test_a_partition_is_materialized_from_the_page_and_succeeds(
    dagster_ui: str, page: Page
) -> None:
    page.goto(f"{dagster_ui}/assets/high_quality_dataset")
    page.get_by_role("button", name="Materialize…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Select a partition").click()
    page.get_by_role("menuitem", name="python").click()
    page.keyboard.press("Escape")
    dialog.get_by_role("button", name="Launch 1 run").click()
    page.locator('a[href^="/runs/"]').filter(has_text=re.compile("^View$")).click()
    page.wait_for_url("**/runs/*")
    expect(page.get_by_text("Success", exact=True).first).to_be_visible(timeout=120_000)
