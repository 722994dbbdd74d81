"""Whether a series is one of those that a selector means, and which bucket it is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping

from rollguard.core.signals import Matcher


def matcher(matchers: Iterable[Matcher]) -> Callable[[Mapping[str, str]], bool]:
    """All of the matchers as one test; a missing label counts as empty, as in PromQL."""
    tests = [_test(one) for one in matchers]
    return lambda labels: all(test(labels) for test in tests)


def bucket_bound(labels: Mapping[str, str]) -> float:
    """A bucket's upper bound. Raises ``ValueError`` where it is no number."""
    bound = float(labels.get("le", ""))
    if math.isnan(bound):
        raise ValueError("le is not a number")
    return bound


def _test(one: Matcher) -> Callable[[Mapping[str, str]], bool]:
    label, value = one.label, one.value
    if one.op in {"=", "!="}:
        equal = one.op == "="
        return lambda labels: (labels.get(label, "") == value) is equal
    pattern, positive = re.compile(value), one.op == "=~"
    return lambda labels: (pattern.fullmatch(labels.get(label, "")) is not None) is positive
