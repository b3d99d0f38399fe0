"""The demo's three checkpoints, as other people's tools take them."""

from pathlib import Path

import pytest

from snow_assets.materialize import upstream
from snow_assets.recipe import SMOKE
from snow_resources.lake import Lake
from tests.vllm_server import complete, require_vllm, served
from tests.whole.conftest import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
PROMPT = "def main():\n"


def model_folder(smoke: Installation, phase: str) -> str:
    made = upstream(Lake(url=smoke.lake), SMOKE, f"{phase}_checkpoint")
    return f"{made.folder}/model"


@pytest.mark.parametrize("phase", ["general", "continued", "enhanced"])
def test_a_checkpoint_loads_by_its_folder(smoke: Installation, phase: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = model_folder(smoke, phase)
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = AutoTokenizer.from_pretrained(folder)(PROMPT, return_tensors="pt").input_ids
    assert model(ids).logits.shape == (1, ids.shape[1], SMOKE.curation.tokenizer.vocabulary)


def test_vllm_serves_the_enhanced_checkpoint(smoke: Installation, tmp_path: Path) -> None:
    require_vllm()
    with served(model_folder(smoke, "enhanced"), tmp_path / "server.log") as url:
        answer = complete(url, prompt=PROMPT, max_tokens=8)
    assert answer["usage"]["completion_tokens"] == 8
