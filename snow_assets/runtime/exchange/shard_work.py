"""Write an artifact's shards, each by a call that depends on its arguments alone."""

from collections.abc import Callable, Sequence
from functools import partial, update_wrapper
from typing import Any

import pyarrow as pa

from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.remaining_time import Remaining
from snow_assets.storage import shards

_WRITTEN = pa.schema([("calls", pa.int64())])


def write_shards(
    exchange: Exchange,
    function: Callable[..., object],
    *inputs: Sequence[Any],
    unit: str,
    **shared: Any,
) -> None:
    """Call `function(element, ..., **shared)` for the elements of all inputs at each position.

    `unit` names what a call writes, for the log line with the remaining time.
    """
    remaining = Remaining(len(inputs[0]), unit)
    call = update_wrapper(partial(_call, function=function), function)  # with its name
    calls = exchange.map_shards(call, *inputs, schema=_WRITTEN, **shared)
    for written in exchange.gather(calls):
        remaining.advance(written.num_rows)


def missing_shards(folder: str, table: str, indices: Sequence[int]) -> list[int]:
    """Those of a table's shards that no earlier run has finished; a single listing."""
    shard_names = {index: shards.table_name(table, index) for index in indices}
    finished = shards.finished_files(folder, shard_names.values())
    return [index for index, name in shard_names.items() if name not in finished]


def _call(*elements: Any, function: Callable[..., object], **shared: Any) -> pa.Table:
    function(*elements, **shared)
    return pa.table([pa.array([1])], schema=_WRITTEN)
