"""The spending cap of an endpoint (`operation.endpoint.max_cost`), kept over attempts.

Each attempt has a file in folder `spending` of the artifact: the most that its requests may have
cost. It is written before the requests that it allows, so that a killed attempt's count too, with
those of parts that it did not complete. A retry is a request of its own. One whose response was
lost, or was a time-out or an error of a server or gateway (408, 5xx), may have been billed: it
counts as the most that it can cost, so that an outage can reach the cap. One that was rejected
(other 4xx) costs nothing.
"""

import json
import threading
import time
from dataclasses import dataclass, field

from snow_assets.recipe import EndpointRecipe
from snow_assets.storage import shards

SPENDING = "spending"


class SpendingCapError(ValueError):
    """The next request could exceed `operation.endpoint.max_cost`."""


@dataclass
class Spending:
    """Cost of an endpoint's tokens; a request reserves the most that it can cost until it ends.

    A file is put once per `max_connections` reservations that were spent. After a kill the cost of
    at most twice as many requests is counted too much.
    """

    endpoint: EndpointRecipe
    artifact: str
    spent: float = 0.0  # by all attempts
    _reserved: float = 0.0
    _num_estimated: int = 0  # requests without a usage, counted as the most that they can cost
    _earlier: float = field(init=False)  # spent by earlier attempts
    _recorded: float = field(init=False)  # the most that all attempts may spend until the next put
    _name: str = field(default_factory=lambda: f"{time.time_ns():020d}.json")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        folder = shards.join(self.artifact, SPENDING)
        entries = [
            json.loads(shards.get(shards.join(folder, name))) for name in shards.names(folder)
        ]
        self._earlier = self._recorded = self.spent = sum(entry["max_cost"] for entry in entries)

    def cost(self, num_prompt_tokens: int, num_completion_tokens: int) -> float:
        prompt_price = self.endpoint.price_per_million_prompt_tokens * num_prompt_tokens
        price = self.endpoint.price_per_million_completion_tokens * num_completion_tokens
        return (prompt_price + price) / 1e6

    def reserve(self, cost: float) -> None:
        """SpendingCapError if this request could exceed the cap."""
        cap = self.endpoint.max_cost
        with self._lock:
            total = self.spent + self._reserved + cost
            if cap is not None and total > cap:
                raise SpendingCapError(
                    f"the endpoint's completions have cost {self.spent:.2f}{self._estimation()}, "
                    "and the requests in progress can exceed operation.endpoint.max_cost, "
                    f"{cap:g}: raise it to go on; complete parts are kept"
                )
            if total > self._recorded:
                allowed = total + self.endpoint.max_connections * cost
                self._record(allowed if cap is None else min(allowed, cap))
            self._reserved += cost

    def settle(self, reserved: float, cost: float | None) -> None:
        """End a request; None: its cost is unknown, and what it reserved stays spent."""
        with self._lock:
            self._reserved -= reserved
            self.spent += reserved if cost is None else cost
            self._num_estimated += cost is None and reserved > 0

    def close(self) -> None:
        """Record what was spent; requests in progress count as the most that they can cost."""
        with self._lock:
            if self._recorded > self._earlier:
                self._record(self.spent + self._reserved)

    def _record(self, total: float) -> None:
        content = json.dumps({"max_cost": total - self._earlier})
        shards.put(shards.join(self.artifact, SPENDING, self._name), content.encode())
        self._recorded = total

    def _estimation(self) -> str:
        if not self._num_estimated:
            return ""
        return (
            f" at most ({self._num_estimated} without a reported usage count as the longest prompt "
            "and completion that the recipe allows)"
        )
