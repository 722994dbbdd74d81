"""The scene: one app on a local platform, its users, its pager, and the guard that knows nothing but their URLs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import rollguard
from rollguard.demo.lookout import call
from rollguard.demo.processes import Processes, StageError, environment
from rollguard.demo.scenarios import GOOD, Scenario
from rollguard.localfly.images import Behaviour, Image

APP, ORG = "hotdash-production", "hotdash"
GUARD, DEPLOYER = "rollguard@hotdash.example", "ci@hotdash.example"
GUARD_TOKEN, DEPLOYER_TOKEN = "fo1_guard", "fo1_ci"
MACHINES, RATE, FLOOR = 4, 40, 0.75
CHECKS = [
    {
        "type": "http",
        "method": "GET",
        "path": path,
        "interval": "1s",
        "timeout": "2s",
        "grace_period": "500ms",
    }
    for path in ("/health", "/api/monitoring/health")
]
ROLLGUARD = ("-m", "rollguard")
VERB_S_MAX = 60.0
POLICY = Path("config", "examples", "demo.yaml")


def find_policy() -> Path:
    """The policy of the demo, in the checkout this package runs from. Raises ``StageError``."""
    package = Path(rollguard.__file__).resolve().parent
    for root in (package.parents[1], Path.cwd()):
        if (root / POLICY).is_file():
            return root / POLICY
    raise StageError(f"there is no {POLICY} beside {package}: run the demo from a checkout, with `make demo`")


def image(version: int, behaviour: Behaviour) -> Image:
    """The image of a release, as a build would push it: labelled with what it does to the database."""
    ref = f"registry.fly.io/{APP}:deployment-01JDEMO0000000000000000V{version}"
    return Image.build(ref, behaviour, {"rollguard.migration": "none"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What runs. ``old`` serves at first, ``new`` is what will be deployed."""

    processes: Processes
    policy: Path
    old: Image
    new: Image
    platform: str
    edge: str
    pager: str

    @property
    def watch_url(self) -> str:
        """The platform's own view of the app."""
        return f"{self.platform}/local/v1/apps/{APP}/watch"

    async def start_users(self) -> None:
        """Forty a second, from now on."""
        out = str(self.processes.folder / "users.jsonl")
        await self.processes.start(
            "traffic", "-m", "rollguard.localfly.traffic", "--edge", self.edge, "--rate", str(RATE), "--out", out
        )

    async def start_guard(self) -> None:
        """A life of the guard; the next one on the same data. All it is told are URLs, a token and a policy."""
        told = environment(
            FLY_FLAPS_BASE_URL=self.platform,
            FLY_API_BASE_URL=self.platform,
            FLY_UIEX_BASE_URL=self.platform,
            FLY_API_TOKEN=GUARD_TOKEN,
            FLY_METRICS_TOKEN=GUARD_TOKEN,
            FLY_PROMETHEUS_URL=f"{self.edge}/prometheus/{ORG}",
            HOTDASH_URL=self.edge,
            HOTDASH_MODE="enforce",
            PAGERDUTY_URL=f"{self.pager}/v2/enqueue",
            PAGERDUTY_KEY="demo",
            HEARTBEAT_URL=f"{self.pager}/heartbeat",
            ROLLGUARD_LOG="json",
        )
        where = ("--config", str(self.policy), "--data", str(self._data), "--listen", "127.0.0.1:0")
        await self.processes.start("guard", *ROLLGUARD, "run", *where, env=told)

    async def adopt(self, reason: str) -> str:
        """A person vouches for what serves now; what the guard answers. Raises ``StageError``."""
        verb = (*ROLLGUARD, "adopt", APP, "--reason", reason, "--data", str(self._data))
        code, said = await self.processes.run("adopt", *verb, timeout_s=VERB_S_MAX)
        if code != 0:
            raise StageError(f"v1 could not be adopted: {self.processes.last_words('adopt')}")
        return said

    @property
    def _data(self) -> Path:
        return self.processes.folder / "data"


async def set_up(scenario: Scenario, processes: Processes) -> Stage:
    """An app that serves ``old`` on four machines behind an edge, with a pager; nobody uses or guards it yet."""
    policy, old, new = find_policy(), image(1, GOOD), image(2, scenario.release)
    platform = await processes.serve("platform", "platform")
    for pushed in (old, new):
        await call(f"{platform}/local/v1/images", "POST", pushed.to_json())
    app = {
        "name": APP,
        "org": ORG,
        "tokens": {GUARD_TOKEN: GUARD, DEPLOYER_TOKEN: DEPLOYER},
        "checks": CHECKS,
        "floor": FLOOR,
        "image": old.ref,
        "machines": MACHINES,
        "region": "ord",
        "group": "app",
    }
    await call(f"{platform}/local/v1/apps", "POST", app)
    return Stage(
        processes=processes,
        policy=policy,
        old=old,
        new=new,
        platform=platform,
        edge=await processes.serve("edge", "edge", "--platform", platform, "--app", APP),
        pager=await processes.serve("pager", "pager", "--out", str(processes.folder / "pages.jsonl")),
    )
