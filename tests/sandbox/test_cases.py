"""Programs that public reports describe, as they ended there, and the outcome that is right."""

from pathlib import Path

import pytest

from snow_assets.runtime import sandbox
from snow_assets.runtime.sandbox import Limits
from tests.sandbox.programs import needs_floor

pytestmark = needs_floor

CASES = Path(__file__).parents[1] / "cases"


def outcome(path: Path, seconds: float = 60.0) -> str:
    return sandbox.run(path.read_text(), limits=Limits(seconds=seconds)).outcome


def test_the_order_of_a_set_gives_one_verdict_in_eight_runs() -> None:
    program = CASES / "55-set-order-verdict" / "program.py"
    assert len({outcome(program) for _ in range(8)}) == 1


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("exit0", "failed"),
        ("fork", "failed"),
        ("os_exit", "failed"),
        ("recursion", "passed"),
        ("stdin", "failed"),
        ("surrogate", "passed"),
        ("thread", "passed"),
    ],
)
def test_a_program_of_the_control_group_ends_as_it_should(name: str, right: str) -> None:
    assert outcome(CASES / "57-right-execution" / f"{name}.py") == right


def test_the_endless_program_of_the_control_group_is_a_timeout() -> None:
    assert outcome(CASES / "57-right-execution" / "loop.py", seconds=1.0) == "timeout"
