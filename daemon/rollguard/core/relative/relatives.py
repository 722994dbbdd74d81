"""All comparisons of one target: fed round by round, asked at every tick, kept across restarts."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from rollguard.core.baseline import Baseline, measure_of
from rollguard.core.budgets import ByLabel
from rollguard.core.evidence.machines import Levels
from rollguard.core.finding import Finding
from rollguard.core.judging import Evidence
from rollguard.core.model import Reading
from rollguard.core.parting import By, named, part_of, parts_in, whole_of
from rollguard.core.policy import Compared, Gauge, Policy, Probes, Quantile, Ratio, Rule
from rollguard.core.promise import shares
from rollguard.core.relative.bounds_of import wagers_of
from rollguard.core.relative.comparison import Comparison, a_day, finite
from rollguard.core.relative.counts import Counts, counted
from rollguard.core.relative.history import History
from rollguard.core.relative.parted import known_parts, most_parts, seen_in, split, together
from rollguard.core.relative.settling import Settling
from rollguard.core.relative.words import finding_of
from rollguard.core.same_hour import SameHours
from rollguard.core.surroundings import Surroundings

FORMAT = 1
PARTS_MAX = 128
"""So many parts have a history, of all measures together; there are at most 101 of one."""
BACK_S = 60.0
"""A clock that reads so much less than before was put back while nobody looked."""


class Unreadable(ValueError):
    """A kept text is not what ``to_text`` wrote."""


class Relatives:
    """The rules of a policy that compare, against the release that serves.

    ``take`` what was read once it is known who ran what meanwhile, ``arm`` for each candidate, ``judge`` at any time.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._candidate = ""
        self._comparisons: dict[str, Comparison] = {}
        self._histories: dict[str, History] = {}
        self._settling = Settling()
        self.hours = SameHours()
        """What the app did at each hour of the last days; kept by itself, since it is large and changes slowly."""
        self._by_signal: dict[str, list[tuple[Rule, Compared, str]]] = {}
        self._parted: dict[str, tuple[Ratio | Quantile, By]] = {}
        self._armed_with: Baseline | None = None
        self._seen_at = -math.inf
        self._next_at = -math.inf
        """When bets are made anew; before that only another candidate or baseline begins any."""
        self._sort()

    @property
    def any(self) -> bool:
        """Whether the policy compares anything."""
        return bool(self._by_signal)

    @property
    def settle_s(self) -> float:
        """For how long after its start a machine's counts are left out."""
        return self._settling.settle_s(self._policy.comparing)

    def obey(self, policy: Policy) -> None:
        """Another policy: rules that still say the same keep their evidence."""
        same = {r.name: r for r in policy.rules}
        kept = {r.name for r in self._policy.rules if r == same.get(r.name)}
        alike = policy.comparing == self._policy.comparing and policy.signals == self._policy.signals
        self._comparisons = {n: c for n, c in self._comparisons.items() if alike and whole_of(n) in kept}
        self._policy, self._next_at = policy, -math.inf
        self._sort()

    def _sort(self) -> None:
        self._by_signal, self._parted = {}, {}
        for rule in self._policy.rules:
            if isinstance(rule.condition, Compared):
                of = rule.condition.of
                measure = of.signal if isinstance(of, Probes) else measure_of(of, self._policy)
                signal = signal_of(rule.condition)
                self._by_signal.setdefault(signal, []).append((rule, rule.condition, measure))
                if (parted := split(of)) is not None:
                    self._parted[rule.name] = parted

    def take(self, signal: str, readings: Sequence[Reading], evidence: Evidence, *, frozen: bool = False) -> None:
        """One round of a signal, of machines that are known to have run what the view of ``evidence`` says.

        ``frozen``: something that the release cannot touch fails as well, so that nothing is evidence now.
        """
        rules = self._by_signal.get(signal)
        if not rules:
            return
        said = {(r.key, r.subject): r for r in readings}
        every_s, settle_s = self._policy.signal(signal).every_s, self.settle_s
        seen: dict[str, Counts | None] = {}
        for rule, condition, measure in rules:
            of, parted = condition.of, self._parted.get(rule.name)
            if measure not in seen:
                counts = seen[measure] = counted(of, readings, said, evidence, every_s)
                if counts is not None and not isinstance(of, Probes | Gauge):
                    self._remember(measure, counts)
            if parted is None:
                self._count(rule.name, seen[measure], evidence, settle_s, frozen=frozen)
                continue
            whole, by = parted
            for part in sorted({*parts_in(whole, evidence.view, readings), *self._parts(rule.name, by)}):
                mine = named(measure, by, part)
                if mine not in seen:
                    its_said, its = seen_in(whole, part, said, evidence)
                    counts = seen[mine] = counted(of, readings, its_said, its, every_s)
                    if counts is not None:
                        self._remember_part(mine, counts)
                self._count(named(rule.name, by, part), seen[mine], evidence, settle_s, frozen=frozen)

    def _count(self, name: str, counts: Counts | None, evidence: Evidence, settle_s: float, *, frozen: bool) -> None:
        comparison = self._comparisons.get(name)
        if counts is None or comparison is None or evidence.view.candidate != self._candidate:
            return
        if self._policy.comparing.settle_auto and not comparison.rearmed:
            self._settling.saw(comparison.cold_s(counts))
        comparison.take(counts, settle_s, frozen=frozen)

    def _remember(self, measure: str, counts: Counts) -> None:
        for ended in self._histories.setdefault(measure, History()).add(counts):  # no block lies in two hours
            self.hours.add(measure, ended.begun, ended.bad, ended.of, ended.buckets)

    def _remember_part(self, name: str, counts: Counts) -> None:
        """For the newest two hours only; of too many parts the one that was counted in least lately goes."""
        parts = [other for other in self._histories if other != whole_of(other)]
        if name not in self._histories and len(parts) >= PARTS_MAX:
            del self._histories[min(parts, key=lambda other: self._histories[other].newest)]
        self._histories.setdefault(name, History()).add(counts)

    def _parts(self, rule: str, by: By) -> list[str]:
        """Those of a rule that are compared."""
        return [part for name in self._comparisons if (part := part_of(name, rule, by)) is not None]

    def arm(self, candidate: str, baseline: Baseline | None, evidence: Evidence, now: float) -> bool:
        """All bets anew for a new candidate, and for what could not be compared before; after the watch again, with a
        fresh baseline, and then only to page. Whether anything was begun.
        """
        if now < self._seen_at - BACK_S:
            self.shift(now - self._seen_at)
        self._seen_at = now
        if candidate == self._candidate and baseline is self._armed_with and now <= self._next_at:
            return False
        begun = False
        if candidate != self._candidate:
            self._candidate, self._comparisons = candidate, {}
            self._settling.begin()
        watch_s = self._policy.interlocks.watch_s
        several = len(evidence.view.cohort) + len(evidence.view.others) > 1
        baselines = [b for b in (baseline,) if b is not None]
        for rule, name, measure, share in self._due(baselines):
            known = self._comparisons.get(name)
            # A standing conviction is not forgotten: the release's own bad minutes would excuse it from then on.
            over = known is not None and not known.won and now - known.armed_at > watch_s
            if known is not None and known.wagers and not over:
                continue
            lift = partial(self.hours.lift, measure, now, watch_s)
            wagers = wagers_of(
                rule,
                [*baselines, *([evidence.own] if over and evidence.own is not None else [])],
                self._histories.setdefault(measure, History()),
                measure=measure,
                share=share / a_day(watch_s) if over else share,
                side_by_side=several and not over,
                restored=baseline is not None and baseline.digest == candidate and not over,
                **({"lift": lift} if name == rule.name else {}),
            )
            if known is not None and over:
                known.rearmed = True  # with fresh bets or without: the watch is over
            if known is None or wagers:
                rearmed = known is not None and known.rearmed
                self._comparisons[name] = Comparison(wagers, watch_s, now, rearmed)
                begun = True
        self._armed_with = baseline
        self._next_at = min((c.armed_at for c in self._comparisons.values()), default=now) + watch_s
        return begun

    def _due(self, baselines: Sequence[Baseline]) -> Iterator[tuple[Rule, str, str, float]]:
        """Each comparison that there may be: its rule, its name, its measure, and what it may take of healthy releases.

        A part that has no past is compared with nothing. The promise is divided among as many as there may ever be.
        """
        promised = shares(self._policy)
        for rule, _, measure in (entry for rules in self._by_signal.values() for entry in rules):
            parted = self._parted.get(rule.name)
            if parted is None:
                yield rule, rule.name, measure, promised[rule.name]
                continue
            of, by = parted
            most = most_parts(of, self._policy, PARTS_MAX)
            parts = known_parts(measure, by, most, baselines)
            share = promised[rule.name] / (most if isinstance(by, ByLabel) else max(1, len(parts)))
            yield from ((rule, named(rule.name, by, part), named(measure, by, part), share) for part in parts)

    def shift(self, by_s: float) -> None:
        """The clock was put right by ``by_s``: what was counted stays, as long ago as it was."""
        for comparison in self._comparisons.values():
            comparison.shift(by_s)
        self._next_at += by_s
        self._seen_at += by_s

    def comparison(self, rule: str) -> Comparison | None:
        """The bets of a rule against the present candidate; None where it was not begun."""
        return self._comparisons.get(rule)

    def proven(self) -> None:
        """The candidate ran clean everywhere for long enough: how long it took to settle is worth remembering."""
        self._settling.proven()

    def levels_of(self, rule: Rule) -> Levels | None:
        """What was learnt of the machines before the candidate came, for what ``rule`` counts; the widest apart that
        they were, where it compares at several bounds. None: nothing was.
        """
        of = rule.condition.of if isinstance(rule.condition, Compared) else rule.condition
        if not isinstance(of, Ratio | Quantile):
            return None
        mine, known = measure_of(of, self._policy), []
        for other, _, measure in (entry for rules in self._by_signal.values() for entry in rules):
            comparison = self._comparisons.get(other.name) if measure == mine else None
            known += [wager.levels for wager in comparison.wagers] if comparison is not None else []
        return max(known, key=lambda levels: levels.spread, default=None)

    def judge(self, rule: Rule, evidence: Evidence, now: float) -> Finding:
        """What a rule that compares says now."""
        current = evidence.view.candidate == self._candidate
        if current and rule.name in self._parted:
            of, by = self._parted[rule.name]
            found = {}
            for part in self._parts(rule.name, by):
                _, its = seen_in(of, part, {}, evidence)
                found[part] = finding_of(rule, self._comparisons[named(rule.name, by, part)], its, self.settle_s, now)
            if found:
                return together(of, found, evidence)
        return finding_of(rule, self._comparisons.get(rule.name) if current else None, evidence, self.settle_s, now)

    # -- kept across restarts --------------------------------------------------------------------------------------

    def to_text(self, *, histories: bool = True) -> str:
        """Everything as JSON: restored, it goes on to the last bit. Without ``histories`` it is small."""
        plain: dict[str, Any] = {
            "format": FORMAT,
            "candidate": self._candidate,
            "rules": {name: [self._mark(name), c.to_plain()] for name, c in self._comparisons.items()},
            "settling": self._settling.to_plain(),
            "seen_at": self._seen_at if math.isfinite(self._seen_at) else None,
        }
        if histories:
            plain["histories"] = self._plain_histories()
        return json.dumps(plain, separators=(",", ":"))

    def restore(self, text: str) -> None:
        """Take up what ``to_text`` wrote; of rules that say something else by now, nothing. Raises ``Unreadable``, and
        then nothing is taken up.
        """
        try:
            plain = json.loads(text)
            if plain["format"] != FORMAT:
                raise Unreadable(f"format {plain['format']!r} is not known")
            kept = plain.get("histories")
            histories = self._read_histories(kept) if kept is not None else self._histories
            comparisons = {
                name: Comparison.from_plain(bets)
                for name, (mark, bets) in plain["rules"].items()
                if mark == self._mark(name)
            }
            settling, candidate = Settling.from_plain(plain["settling"]), str(plain["candidate"])
            seen_at = -math.inf if plain.get("seen_at") is None else finite(plain["seen_at"])
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
            raise Unreadable(f"not kept evidence: {error}") from error
        self._histories, self._comparisons = histories, comparisons
        self._settling, self._candidate, self._next_at = settling, candidate, -math.inf
        self._seen_at = seen_at

    def histories_text(self, chars_max: int) -> str:
        """What machines did of late, as JSON of at most so many characters: parts go first, then the oldest."""
        plain = self._plain_histories()
        if len(json.dumps(plain, separators=(",", ":"))) > chars_max:
            plain = {name: blocks for name, blocks in plain.items() if name == whole_of(name)}
        while len(text := json.dumps(plain, separators=(",", ":"))) > chars_max:
            if not any(plain.values()):
                return "{}"
            plain = {name: blocks[(len(blocks) + 1) // 2 :] for name, blocks in plain.items()}
        return text

    def restore_histories(self, text: str) -> None:
        """Take up what ``histories_text`` gave. Raises ``Unreadable``, and then nothing is taken up."""
        try:
            self._histories = self._read_histories(json.loads(text))
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
            raise Unreadable(f"not kept histories: {error}") from error

    def _plain_histories(self) -> dict[str, list[Any]]:
        return {name: history.to_plain() for name, history in self._histories.items()}

    def _read_histories(self, plain: Mapping[str, Any]) -> dict[str, History]:
        measures = {m for rules in self._by_signal.values() for _, _, m in rules}
        return {name: History.from_plain(kept) for name, kept in plain.items() if whole_of(name) in measures}

    def _mark(self, name: str) -> str:
        """What a rule says, by which it is known again."""
        rule: Rule | None = next((r for r in self._policy.rules if r.name == whole_of(name)), None)
        settings: Mapping[str, Any] = {"alpha": self._policy.comparing.alpha, "watch": self._policy.interlocks.watch_s}
        return f"{rule.condition!r} {rule.then} {sorted(settings.items())}" if rule is not None else "?"


def nothing_counts(around: Surroundings) -> bool:
    """Whether something that no release can touch fails: what the app needs, or all that the guard can see."""
    cut_off = bool(around.control) and all(address.down for address in around.control)
    return cut_off or any(address.down for address in around.dependencies)


def signal_of(condition: Compared) -> str:
    """The name of the signal that a comparison reads."""
    of = condition.of
    key = getattr(of, "total", None) or getattr(of, "key", None) or getattr(of, "signal", "")
    return str(key).partition(".")[0]
