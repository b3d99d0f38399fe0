"""Where a teacher that is not run by us can be reached."""

import dagster as dg


class Teacher(dg.ConfigurableResource):  # type: ignore[type-arg]
    """An OpenAI-compatible server, such as `http://teacher:8000/v1`; its key is the job's own
    OPENAI_API_KEY and never passes through here."""

    url: str = ""  # needed only by recipes whose synthesis.engine is `endpoint`

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
