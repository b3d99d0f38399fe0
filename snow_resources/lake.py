"""Layout of the lake: paths of artifacts, pointers and estimates."""

import dagster as dg
from pydantic import ConfigDict, field_validator

from snow_assets.storage.urls import refuse_credentials


class Lake(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A folder or an object-store prefix: `/data/lake`, `s3://bucket/lake`.

    An artifact is stored at asset/partition/fingerprint; unpartitioned assets have the partition
    `all`. A recipe's *pointer* names the artifact that it materialized last.
    """

    url: str

    model_config = ConfigDict(hide_input_in_errors=True)  # a refused URL may hold a secret

    @field_validator("url")
    @classmethod
    def _has_no_credentials(cls, url: str) -> str:
        return refuse_credentials(url, "the lake's URL")

    def artifact(self, asset: str, partition: str, fingerprint: str) -> str:
        return f"{self.url}/{asset}/{partition}/{fingerprint}"

    def partition(self, asset: str, partition: str) -> str:
        return f"{self.url}/{asset}/{partition}"

    def pointer(self, recipe: str, asset: str, partition: str) -> str:
        return f"{self.pointers(recipe, asset)}/{partition}.json"

    def pointers(self, recipe: str, asset: str) -> str:
        return f"{self.url}/current/{recipe}/{asset}"

    def estimates(self, recipe: str) -> str:
        return f"{self.url}/estimates/{recipe}.json"
