"""Where a teacher that is not run by us can be reached."""

import dagster as dg
from pydantic import ConfigDict, field_validator

from snow_assets.urls import refuse_credentials


class Teacher(dg.ConfigurableResource):  # type: ignore[type-arg]
    """An OpenAI-compatible server, such as `http://teacher:8000/v1`; its key is the job's own
    OPENAI_API_KEY and never passes through here."""

    url: str = ""  # needed only by recipes whose synthesis.engine is `endpoint`

    model_config = ConfigDict(hide_input_in_errors=True)  # a refused URL may hold a secret

    @field_validator("url")
    @classmethod
    def _has_no_credentials(cls, url: str) -> str:
        return refuse_credentials(url, "the teacher's URL")

    def address(self, engine: str) -> str:
        """The URL for the engine `endpoint`, empty for others."""
        if engine != "endpoint":
            return ""
        if not self.url:
            raise ValueError(
                "the recipe's synthesis.engine is `endpoint`, and no teacher's URL is set: "
                "set SNOW_TEACHER_URL, or take the engine `vllm`"
            )
        return self.url
