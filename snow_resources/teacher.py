"""Endpoint of a teacher model that an external server runs."""

import dagster as dg
from pydantic import ConfigDict, field_validator

from snow_assets.storage.urls import refuse_credentials


class Teacher(dg.ConfigurableResource):  # type: ignore[type-arg]
    """An OpenAI-compatible server, such as `http://teacher:8000/v1`; the job reads its key from
    its own OPENAI_API_KEY, never from this resource."""

    url: str = ""  # needed only by recipes whose synthesis.engine is `endpoint`

    model_config = ConfigDict(hide_input_in_errors=True)  # a refused URL may hold a secret

    @field_validator("url")
    @classmethod
    def _has_no_credentials(cls, url: str) -> str:
        return refuse_credentials(url, "the teacher's URL")

    def address(self, engine: str) -> str:
        """The URL for the engine `endpoint`, empty for other engines."""
        if engine != "endpoint":
            return ""
        if not self.url:
            raise ValueError(
                "the recipe's synthesis.engine is `endpoint`, and no teacher's URL is set: "
                "set SNOW_TEACHER_URL, or use the engine `vllm`"
            )
        return self.url
