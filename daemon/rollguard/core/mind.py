"""The guard's mind without its hands: the same judging and deciding as in the daemon, on whatever time it is told.

    mind = Mind(policy, began_at)
    mind.see(snapshot)                  # who runs what now
    mind.read("traffic", readings)      # one round of one signal
    mind.decide(now)                    # Hold, PageDecision or RollBack

`rollguard judge` and the benchmarks look through it. It differs from the daemon in this alone: nobody acts, nobody is
paged, and the journal is a value in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rollguard.core.baseline import DIGESTS_MAX, Baseline
from rollguard.core.case import Case
from rollguard.core.confirm import again
from rollguard.core.decide import Decision, Hold, calm, decide
from rollguard.core.events import Event, Recorded
from rollguard.core.finding import Finding
from rollguard.core.first_plan import Planner
from rollguard.core.fleet import Tenure, View, newest_running, track, view
from rollguard.core.horizon import horizon_s
from rollguard.core.judge import Judge
from rollguard.core.judging import Evidence
from rollguard.core.learning import Stretch, compared_with, finished, learn
from rollguard.core.lifecycle import DigestRecord, TargetState, apply
from rollguard.core.model import Machine, Reading, Snapshot
from rollguard.core.policy import Policy
from rollguard.core.relative.relatives import Relatives, nothing_counts
from rollguard.core.rule_changes import rule_changes
from rollguard.core.sightings import firing_since, is_clean, older_than, proven, sightings
from rollguard.core.surroundings import Surroundings
from rollguard.core.targets import target_of
from rollguard.core.window import Windows

NOBODY = "no machine runs anything yet"


class Mind:
    """What a guard would think of one target."""

    def __init__(self, policy: Policy, began_at: float) -> None:
        self.policy = policy
        self.state = TargetState()
        self.windows = Windows(horizon_s(policy))
        self.relatives = Relatives(policy)
        self.findings: tuple[Finding, ...] = ()
        self.surroundings = Surroundings()
        self._frozen = False
        self.snapshot: Snapshot | None = None
        self.tenures: dict[str, Tenure] = {}
        self._began_at = began_at
        self._whole_since = began_at
        self._judge, self._planner = Judge(), Planner()
        self._evidence: Evidence | None = None
        self._baselines: dict[str, Baseline] = {}
        self._stretch: Stretch | None = None
        self._clean_since: float | None = None
        self._seq = 0
        self._serves: tuple[tuple[Machine, ...], TargetState, DigestRecord | None] | None = None
        """Who is judged, as these machines and this state say."""
        self._view: View | None = None
        """The fleet as it is judged; None: something happened since."""

    def see(self, snapshot: Snapshot) -> None:
        """What the platform shows now. A snapshot that is older than the last one is ignored."""
        before = self.snapshot.at if self.snapshot is not None else None
        if before is not None and snapshot.at < before:
            return
        now = snapshot.at
        if self.snapshot is not None and snapshot.machines == self.snapshot.machines:
            self.snapshot = snapshot  # nothing happened
            return
        self._evidence = self._view = None
        digests_before = {t.digest for t in self.tenures.values() if t.started}
        self.tenures, self.snapshot = track(self.tenures, snapshot, before, now), snapshot
        digests = {t.digest for t in self.tenures.values() if t.started}
        if digests != digests_before or len(digests) > 1:
            self._whole_since = now if len(digests) > 1 or digests_before else self._whole_since
        self._note(*sightings(self.state, snapshot, older_than(firing_since(self.findings), before), now))
        if (candidate := self.candidate) is not None:  # so that its first interval counts
            evidence = self.evidence(candidate.digest, now)
            self.relatives.arm(candidate.digest, evidence.baseline, evidence, now)

    def around(self, surroundings: Surroundings) -> None:
        """What is known of the world outside the app."""
        if surroundings is not self.surroundings:
            self.surroundings, self._frozen = surroundings, nothing_counts(surroundings)

    def read(self, signal: str, readings: Sequence[Reading], *, repeated: bool = False) -> None:
        """One round of one signal, of machines that ran since then what the last snapshot shows.

        What was asked again at once is ``repeated``, and kept apart.
        """
        self.windows.add((replace(r, key=again(r.key)) for r in readings) if repeated else readings)
        candidate = self.candidate
        if candidate is None or not readings:
            return
        now = max([reading.at for reading in readings])
        evidence = self._evidence or self.evidence(candidate.digest, now)
        self.relatives.arm(candidate.digest, evidence.baseline, evidence, now)
        self.relatives.take(signal, readings, evidence, frozen=self._frozen)

    def decide(self, now: float) -> Decision:
        """Judge every rule, learn, and say what a guard would do."""
        candidate, snapshot = self.candidate, self.snapshot
        if candidate is None or snapshot is None:
            return Hold(sentence=NOBODY)
        self.windows.forget(now)
        evidence = self._evidence = self.evidence(candidate.digest, now)
        self.relatives.arm(candidate.digest, evidence.baseline, evidence, now)
        findings = self._judge.judge_all(evidence, now)
        self._note(*rule_changes(findings, self.state.rules, now))
        self.findings = findings
        self._learn(evidence, now)
        self._prove(candidate, snapshot, now)
        return calm(findings) or decide(self.case(candidate, snapshot, now), self.policy.mode, now)

    @property
    def candidate(self) -> DigestRecord | None:
        """The digest that is judged."""
        snapshot, state = self.snapshot, self.state
        if snapshot is None:
            return None
        if self._serves is None or self._serves[0] is not snapshot.machines or self._serves[1] is not state:
            digest = newest_running(snapshot, state.order)
            self._serves = snapshot.machines, state, state.record(digest) if digest is not None else None
        return self._serves[2]

    def evidence(self, candidate: str, now: float) -> Evidence:
        """All that the judge may look at."""
        digest, why = compared_with(self.state, candidate, self.policy.interlocks, now)
        baseline = self._baselines.get(digest) if digest is not None else None
        if self._view is None or self._view.candidate != candidate:
            self._view = view(self.tenures, candidate, whole_since=self._whole_since, deploying=False)
        known, own = self._evidence, self._baselines.get(candidate)
        if (
            known is not None
            and known.view is self._view
            and known.baseline is baseline
            and known.no_baseline == why
            and known.own is own
        ):
            return known
        return Evidence(
            policy=self.policy,
            view=self._view,
            windows=self.windows,
            alive_since=self._began_at,
            baseline=baseline,
            no_baseline=why,
            own=own,
            compare=self.relatives.judge,
        )

    def case(self, candidate: DigestRecord, snapshot: Snapshot, now: float) -> Case:
        """All that the decision may look at."""
        target, why = target_of(self.state, candidate.digest, self.policy, now)
        return Case(
            policy=self.policy,
            state=self.state,
            snapshot=snapshot,
            candidate=candidate,
            target=target,
            no_target=why,
            findings=self.findings,
            around=self.surroundings,
            plan=self._planner.plan(self.policy, self.findings, lambda: self.evidence(candidate.digest, now), now),
        )

    def _learn(self, evidence: Evidence, now: float) -> None:
        self._stretch = learn(self._stretch, evidence, self.findings, now)
        if self._stretch is None:
            return
        self._stretch, block = finished(self._stretch, evidence, now)
        if block is not None:
            known = self._baselines.pop(block.digest, None) or Baseline(block.digest)
            self._baselines[block.digest] = known.with_block(block, self.policy.comparing)
            for digest in list(self._baselines)[:-DIGESTS_MAX]:
                del self._baselines[digest]

    def _prove(self, candidate: DigestRecord, snapshot: Snapshot, now: float) -> None:
        if not is_clean(candidate, snapshot, self.findings, deploying=False):
            self._clean_since = None
            return
        self._clean_since = now if self._clean_since is None else self._clean_since
        if (event := proven(candidate, self._clean_since, self.policy.interlocks, now)) is not None:
            self.relatives.proven()
            self._note(event)

    def _note(self, *events: Event) -> None:
        for event in events:
            self._seq += 1
            self.state = apply(self.state, Recorded(self._seq, event))
