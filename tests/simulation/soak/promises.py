"""The seven promises of the guard, and the limits of the platform."""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulation.soak.floor import TheFloor
from tests.simulation.soak.one_rollback import OneRollback
from tests.simulation.soak.promise import Promise
from tests.simulation.soak.verdicts import Converges, FiringEndsInAnAct, NoDataIsNoEvidence
from tests.simulation.soak.writes import IntentFirst, NeverBlindly, NoHaste

ALL: Sequence[type[Promise]] = (
    OneRollback,
    IntentFirst,
    NeverBlindly,
    NoDataIsNoEvidence,
    FiringEndsInAnAct,
    TheFloor,
    Converges,
    NoHaste,
)
