"""The code location as it is, with each run's steps in its own process."""

import dagster as dg

from snow_assets import definitions

defs = dg.Definitions.merge(definitions.defs, dg.Definitions(executor=dg.in_process_executor))
