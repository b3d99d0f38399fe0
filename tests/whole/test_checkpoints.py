"""The demo's three checkpoints, as other people's tools take them."""

from pathlib import Path

import pytest

from snow_assets.defs.materialize import current_artifact
from snow_assets.recipe import SMOKE
from snow_resources.lake import Lake
from tests.vllm_server import complete, require_vllm, served
from tests.whole.conftest import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
PROMPT = "def main():\n"


def model_folder(smoke: Installation, phase: str) -> str:
    made = current_artifact(Lake(url=smoke.lake), SMOKE, f"{phase}_checkpoint")
    return f"{made.folder}/model"


@pytest.mark.parametrize("phase", ["general", "continued", "enhanced"])
def test_a_checkpoint_loads_by_its_folder(smoke: Installation, phase: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = model_folder(smoke, phase)
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = AutoTokenizer.from_pretrained(folder)(PROMPT, return_tensors="pt").input_ids
    assert model(ids).logits.shape == (1, ids.shape[1], SMOKE.curation.tokenizer.vocab_size)


def test_vllm_serves_the_enhanced_checkpoint_and_continues_as_transformers_does(
    smoke: Installation, tmp_path: Path
) -> None:
    require_vllm()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = model_folder(smoke, "enhanced")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(PROMPT, return_tensors="pt").input_ids
    model = AutoModelForCausalLM.from_pretrained(folder)
    expected = model.generate(ids, max_new_tokens=8, do_sample=False)[0, ids.shape[1] :].tolist()
    with served(folder, tmp_path / "server.log", "--dtype", "float32") as url:
        answer = complete(url, prompt=ids[0].tolist(), max_tokens=8, return_token_ids=True)
    assert answer["choices"][0]["token_ids"] == expected
    assert answer["choices"][0]["text"] == tokenizer.decode(expected, skip_special_tokens=True)
