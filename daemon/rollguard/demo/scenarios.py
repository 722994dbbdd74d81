"""What can be shown. Each scenario is a release, what is done one after the other, and how it must end."""

from __future__ import annotations

from dataclasses import replace

from rollguard.demo import acts, endings, limits
from rollguard.demo.scenario import GOOD, Scenario

FINE = replace(GOOD, latency_s=0.07)
FAULTY = replace(GOOD, error_share=0.3)
P95_S = 0.182
"""How long v1 takes, but for the slowest twentieth of its pages."""

ERRORS = Scenario(
    name="errors",
    about="30 % of the new release's answers are 500; its health checks stay green",
    ending=endings.ROLLED_BACK,
    release=FAULTY,
    acts=(acts.adopt, acts.deploy, acts.rolled_back, acts.verified),
    limit_s=limits.by_rate_s,
    ends_in_s=115.0,
)
DOWN = Scenario(
    name="down",
    about="every page of the new release is a 500; its health checks stay green",
    ending=endings.FAST,
    release=replace(GOOD, error_share=1.0),
    acts=(acts.adopt, acts.deploy, acts.rolled_back, acts.verified),
    limit_s=limits.by_probe_s,
    ends_in_s=115.0,
)
FINE_RELEASE = Scenario(
    name="good",
    about="the new release is fine",
    ending=endings.LEFT_ALONE,
    release=FINE,
    acts=(acts.deploy, acts.proven),
    ends_on="v2",
    bad=None,
    ends_in_s=180.0,
)
KILLED = Scenario(
    name="killed",
    about="as errors, but the guard is killed in the middle of the rollback and started again",
    ending=endings.ONCE,
    release=FAULTY,
    acts=(acts.adopt, acts.deploy, acts.the_guard_is_killed, acts.rolled_back, acts.verified),
    limit_s=limits.by_rate_s,
    ends_in_s=180.0,
)
SLOW = Scenario(
    name="slow",
    about="one more query a page: P95 + 80 %, and every answer is right",
    ending=endings.BY_COMPARISON,
    release=replace(GOOD, added_latency_s=0.8 * P95_S),
    acts=(acts.adopt_as_recorded, acts.deploy, acts.it_counts_from_here, acts.rolled_back, acts.verified),
    limit_s=limits.by_comparison_s,
    ends_in_s=330.0,
)
SLOWER = Scenario(
    name="slower",
    about="one more query a page: P95 + 30 %, which is something for a person to consider",
    ending=endings.APPROVED,
    release=replace(GOOD, added_latency_s=0.3 * P95_S),
    acts=(
        acts.adopt_as_recorded,
        acts.deploy,
        acts.it_counts_from_here,
        acts.paged("consider a rollback"),
        acts.nothing_more_for(5.0),
        acts.approve,
        acts.rolled_back,
        acts.verified,
    ),
    limit_s=limits.by_consent_s,
    ends_in_s=330.0,
)
CRASH_LOOP = Scenario(
    name="crash-loop",
    about="the new release exits after 3 s, again and again",
    ending=endings.NO_PROOF,
    release=replace(GOOD, crash_after_s=3.0),
    acts=(acts.adopt, acts.deploy_as_far_as_it_gets, acts.it_counts_from_here, acts.rolled_back, acts.verified),
    limit_s=limits.by_crash_s,
    rough=True,
    ends_in_s=200.0,
)
CORRUPTION = Scenario(
    name="corruption",
    about="every signal is green, and yet the new release spoils data",
    ending=endings.BY_REPORT,
    release=FINE,
    acts=(
        acts.adopt,
        acts.deploy,
        acts.report("data-corruption", "orders without lines since v2"),
        acts.rolled_back,
        acts.verified,
    ),
    limit_s=limits.by_report_s,
    ends_in_s=180.0,
)
MIGRATION = Scenario(
    name="migration",
    about="30 % of the new release's answers are 500, but it has migrated the database, says its label",
    ending=endings.MIGRATED,
    release=FAULTY,
    migration="applied",
    acts=(acts.adopt, acts.deploy, acts.paged("is labelled rollguard.migration="), acts.nothing_more_for(15.0)),
    ends_on="v2",
    ends_in_s=120.0,
)
OUTAGE = Scenario(
    name="outage",
    about="a release that is fine; after it the database, which the policy names, goes down",
    ending=endings.NOT_THE_RELEASE,
    release=FINE,
    depends=True,
    acts=(
        acts.adopt,
        acts.deploy,
        acts.the_database_goes_down,
        acts.paged("not the release: the dependency database"),
        acts.nothing_more_for(15.0),
        acts.the_database_comes_back,
    ),
    ends_on="v2",
    ends_in_s=120.0,
)
HALF = Scenario(
    name="half",
    about="30 % of the new release's answers are 500, and its deploy dies half-way",
    ending=endings.ALL_PROVEN,
    release=FAULTY,
    acts=(acts.adopt, acts.deploy_dies_after(2), acts.rolled_back, acts.verified),
    limit_s=limits.by_dead_deploy_s,
    ends_in_s=300.0,
)
ONE_SICK = Scenario(
    name="one-sick",
    about="a release that is fine; after it one of the four machines fails",
    ending=endings.ONE_SICK,
    release=FINE,
    acts=(
        acts.adopt,
        acts.deploy,
        acts.one_machine_falls_sick,
        acts.paged(", not the release: "),
        acts.nothing_more_for(15.0),
    ),
    ends_on="v2",
    ends_in_s=120.0,
)
BLIND = Scenario(
    name="blind",
    about="the metrics endpoint dies after the deploy, and then every page of the new release fails",
    ending=endings.BLIND,
    release=FINE,
    acts=(
        acts.adopt,
        acts.deploy,
        acts.metrics_die,
        acts.paged("blind on"),
        acts.every_page_fails,
        acts.rolled_back,
        acts.verified,
    ),
    limit_s=limits.by_probe_s,
    ends_in_s=300.0,
)
NOT_BETTER = Scenario(
    name="not-better",
    about="30 % of the new release's answers are 500, and soon the older one does no better",
    ending=endings.NOT_BETTER,
    release=FAULTY,
    acts=(
        acts.adopt,
        acts.deploy,
        acts.whatever_runs("v1 fails as often", {"error_share": 0.3}),
        acts.rolled_back,
        acts.paged("not the release"),
        acts.nothing_more_for(20.0),
    ),
    limit_s=limits.by_rate_s,
    rough=True,
    ends_in_s=200.0,
)
HUMAN = Scenario(
    name="human",
    about="30 % of the new release's answers are 500; in the middle of the rollback a person deploys v3",
    ending=endings.YIELDED,
    release=FAULTY,
    acts=(
        acts.adopt,
        acts.deploy,
        acts.a_person_deploys,
        acts.paged("handed over to you"),
        acts.nothing_more_for(10.0),
    ),
    limit_s=limits.by_rate_s,
    ends_on="v3",
    ends_in_s=180.0,
)
ALL = (
    *(ERRORS, DOWN, FINE_RELEASE, KILLED),
    *(SLOW, SLOWER, CRASH_LOOP, CORRUPTION, MIGRATION, OUTAGE, HALF, ONE_SICK, BLIND, NOT_BETTER, HUMAN),
)
SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in ALL}
DEFAULT = ERRORS.name
