"""The recorded loss curves of three chained phases are reproduced."""

import json

import pytest

from tests.pretraining.loss_curves import PATH, PHASES, train_phases

TOLERANCE_BITS = 1e-4


def test_three_chained_phases_follow_the_recorded_loss_curves(lake_url: str) -> None:
    recorded = json.loads(PATH.read_text())
    assert list(recorded) == [phase.name for phase in PHASES]
    curves = train_phases(lake_url)
    for phase, curve in recorded.items():
        assert curves[phase] == pytest.approx(curve, abs=TOLERANCE_BITS, rel=0), phase
