"""Learns what a release does while it is well, and remembers it across restarts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rollguard.core import events as ev
from rollguard.core.baseline import DIGESTS_MAX, Baseline, Block, Unreadable, compared, from_text, to_text
from rollguard.core.finding import Finding
from rollguard.core.judging import Evidence
from rollguard.core.learning import Stretch, compared_with, finished, learn
from rollguard.core.policy import Comparing, Interlocks, Policy
from rollguard.core.recording import Recorded
from rollguard.core.text import one_line
from rollguard.engine.record import Record
from rollguard.errors import Refused

NAME = "baseline"
"""Under which the journal keeps it."""
CHARS_MAX = 2 << 20


def baseline_blocks(known: Recorded, digest: str, policy: Policy) -> Sequence[Block]:
    """What of a recording can be the baseline of ``digest``. Raises ``Refused`` where nothing can."""
    if known.target != policy.target.name:
        raise Refused(f"the recording is of {one_line(known.target, 80)!r}, not of {policy.target.name}")
    if not compared(policy):
        raise Refused("no rule of the policy compares a release with a baseline")
    if not known.blocks:
        raise Refused("at no time of the recording did every machine run the same image")
    blocks = known.of(digest)
    if not any(block.most_requests or block.gauges for block in blocks):
        raise Refused(
            "the recording has no request of a rule that compares: was it made with this policy, with traffic?"
        )
    return blocks


class Learner:
    """The baselines of one target's newest digests."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._opened = False
        self._stretch: Stretch | None = None
        self._baselines: dict[str, Baseline] = {}

    async def open(self, now: float) -> None:
        """Take up what earlier lives learnt; again, it does nothing. Raises ``JournalError``.

        What cannot be read is said and forgotten: it is learnt anew.
        """
        if self._opened:
            return
        self._opened = True
        text = await self._record.kept(NAME)
        try:
            self._baselines = {b.digest: b for b in from_text(text)} if text else {}
        except Unreadable as error:
            told = one_line(f"what was learnt of earlier releases is forgotten: {error}", 500)
            await self._record.add(ev.TickFailed(at=now, error=told, failures=1))

    def known(self, digest: str) -> Baseline | None:
        """What is known of a digest, or None."""
        return self._baselines.get(digest)

    def baseline(self, candidate: str, limits: Interlocks, now: float) -> tuple[Baseline | None, str]:
        """What a candidate is compared with, or None and why."""
        digest, why = compared_with(self._record.state, candidate, limits, now)
        return (self._baselines.get(digest), "") if digest is not None else (None, why)

    async def take(self, evidence: Evidence, findings: Sequence[Finding], now: float) -> None:
        """Learn from what is known now. Raises ``JournalError``."""
        state = self._record.state
        calm = state.incident is None and state.goal is None and state.drilling is None
        self._stretch = learn(self._stretch, evidence, findings, now) if calm else None
        if self._stretch is None:
            return
        self._stretch, block = finished(self._stretch, evidence, now)
        if block is not None:
            await self._add(block, evidence.policy.comparing)

    async def load(self, digest: str, blocks: Sequence[Block], settings: Comparing, now: float) -> Baseline:
        """Take recorded blocks as what a digest does, instead of what was known of it. Raises ``JournalError``."""
        await self.open(now)
        baseline = Baseline(digest, how="recorded")
        for block in blocks:
            baseline = baseline.with_block(replace(block, digest=digest), settings)
        await self._keep(baseline)
        return baseline

    async def _add(self, block: Block, settings: Comparing) -> None:
        known = self._baselines.get(block.digest) or Baseline(block.digest)
        await self._keep(known.with_block(block, settings))

    async def _keep(self, newest: Baseline) -> None:
        """Remember it beside those of the other newest digests, as many as there is room for."""
        others = [b for b in self._baselines.values() if b.digest != newest.digest]
        kept = [*others, newest][-DIGESTS_MAX:]
        while len(text := to_text(kept)) > CHARS_MAX and (len(kept) > 1 or len(kept[0].blocks) > 1):
            kept = kept[1:] or [_half(kept[0])]
        self._baselines = {b.digest: b for b in kept}
        await self._record.keep(NAME, text)


def _half(baseline: Baseline) -> Baseline:
    """Its newer half."""
    return Baseline(baseline.digest, baseline.blocks[len(baseline.blocks) // 2 :], baseline.how)
