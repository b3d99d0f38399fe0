"""vLLM's OpenAI-compatible server takes a checkpoint's folder as it is."""

from pathlib import Path

import pytest

from snow_assets.pretraining.training import work
from tests.pretraining.builders import a_request, a_supply, a_text, put_packs
from tests.pretraining.test_training import Quiet
from tests.vllm_server import complete, require_vllm, served


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_vllm_serves_a_checkpoint_and_continues_as_transformers_does(
    lake_url: str, tmp_path: Path
) -> None:
    require_vllm()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    request = a_request(lake_url, put_packs(lake_url, a_supply(lake_url)))
    work(request, Quiet())
    folder = f"{request.output}/model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(a_text("alpha"), return_tensors="pt").input_ids[:, :16]
    model = AutoModelForCausalLM.from_pretrained(folder)
    expected = model.generate(ids, max_new_tokens=8, do_sample=False)[0, 16:].tolist()
    with served(folder, tmp_path / "server.log") as url:
        answer = complete(url, prompt=ids[0].tolist(), max_tokens=8, return_token_ids=True)
    assert answer["choices"][0]["token_ids"] == expected
    assert answer["choices"][0]["text"] == tokenizer.decode(expected, skip_special_tokens=True)
