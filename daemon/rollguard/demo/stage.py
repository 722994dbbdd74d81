"""The scene: one app on a local platform, its users, its pager, and the guard that knows nothing but their URLs."""

from __future__ import annotations

from asyncio.subprocess import Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import rollguard
from rollguard.demo.lookout import call
from rollguard.demo.processes import Processes, StageError, environment
from rollguard.demo.scenario import GOOD, Scenario
from rollguard.localfly.images import Behaviour, Image

APP, ORG = "hotdash-production", "hotdash"
GUARD, DEPLOYER, PERSON = "rollguard@hotdash.example", "ci@hotdash.example", "ann@hotdash.example"
TOKENS = {GUARD: "fo1_guard", DEPLOYER: "fo1_ci", PERSON: "fo1_ann"}
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
BASELINE = Path("config", "examples", "demo-baseline.jsonl")
"""What ``rollguard record`` saved of v1; see ``recorded``."""


def find(file: Path) -> Path:
    """A file of the checkout this package runs from. Raises ``StageError``."""
    package = Path(rollguard.__file__).resolve().parent
    for root in (package.parents[1], Path.cwd()):
        if (root / file).is_file():
            return root / file
    raise StageError(f"there is no {file} beside {package}: run the demo from a checkout, with `make demo`")


def image(name: str, behaviour: Behaviour, migration: str = "none") -> Image:
    """The image of a release, as a build would push it: labelled with what it does to the database."""
    ref = f"registry.fly.io/{APP}:deployment-01JDEMO0000000000000000{name.upper()}"
    return Image.build(ref, behaviour, {"rollguard.migration": migration})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What runs. ``images`` by name: v1 serves at first, v2 will be deployed, v3 is what a person may ship instead.

    ``database`` is the URL of what the app depends on; empty where it needs nothing.
    """

    processes: Processes
    policy: Path
    images: Mapping[str, Image]
    platform: str
    edge: str
    pager: str
    database: str = ""

    @property
    def app_url(self) -> str:
        """The app in the platform's own interface."""
        return f"{self.platform}/local/v1/apps/{APP}"

    async def start_users(self) -> None:
        """Forty a second, from now on."""
        out = str(self.processes.folder / "users.jsonl")
        await self.processes.start(
            "traffic", "-m", "rollguard.localfly.traffic", "--edge", self.edge, "--rate", str(RATE), "--out", out
        )

    async def start_guard(self) -> None:
        """A life of the guard; the next one on the same data. All it is told are URLs, a token and a policy."""
        where = ("--config", str(self.policy), "--data", str(self.data), "--listen", "127.0.0.1:0")
        await self.processes.start("guard", *ROLLGUARD, "run", *where, env=self.told())

    def told(self) -> dict[str, str]:
        """What the guard finds in its environment."""
        return environment(
            FLY_FLAPS_BASE_URL=self.platform,
            FLY_API_BASE_URL=self.platform,
            FLY_UIEX_BASE_URL=self.platform,
            FLY_API_TOKEN=TOKENS[GUARD],
            FLY_METRICS_TOKEN=TOKENS[GUARD],
            FLY_PROMETHEUS_URL=f"{self.edge}/prometheus/{ORG}",
            HOTDASH_URL=self.edge,
            HOTDASH_MODE="enforce",
            HOTDASH_DEPENDENCY=self.database,
            PAGERDUTY_URL=f"{self.pager}/v2/enqueue",
            PAGERDUTY_CHANGE_URL=f"{self.pager}/v2/change/enqueue",
            PAGERDUTY_KEY="demo",
            CONTROL_URL=f"{self.pager}/heartbeat",
            CONTROL_URL_2=f"{self.platform}/v1/incidents",
            FLY_STATUSPAGE_UNRESOLVED_INCIDENTS_URL=f"{self.platform}/v1/incidents",
            HEARTBEAT_URL=f"{self.pager}/heartbeat",
            ROLLGUARD_LOG="json",
        )

    async def deploy(self, name: str, owner: str, *options: str) -> Process:
        """Somebody begins to deploy one of the images, as flyctl does."""
        where = ("--platform", self.platform, "--app", APP, "--image", self.images[name].ref)
        deployer = ("-m", "rollguard.localfly.deployer", *where, "--token", TOKENS[owner], *options)
        return await self.processes.start(f"deployer-{name}", *deployer)

    async def ask(self, verb: str, *words: str, reason: str) -> str:
        """A person at the guard's command line; what the guard answers. Raises ``StageError`` where it refuses."""
        line = (*ROLLGUARD, verb, APP, *words, "--reason", reason, "--by", PERSON, "--data", str(self.data))
        code, said = await self.processes.run(verb, *line, timeout_s=VERB_S_MAX)
        if code != 0:
            raise StageError(f"rollguard {verb}: {self.processes.last_words(verb)}")
        return said

    @property
    def data(self) -> Path:
        """The guard's data folder."""
        return self.processes.folder / "data"


async def set_up(scenario: Scenario, processes: Processes) -> Stage:
    """An app that serves v1 on four machines behind an edge, with a pager; nobody uses or guards it yet."""
    policy = find(POLICY)
    platform = await processes.serve("platform", "platform")
    database = await processes.serve("database", "dependency") if scenario.depends else ""
    needs = {"needs": f"{database}/"} if database else {}
    images = {
        "v1": image("v1", GOOD.altered(needs)),
        "v2": image("v2", scenario.release.altered(needs), scenario.migration),
        "v3": image("v3", GOOD.altered(needs)),
    }
    for pushed in images.values():
        await call(f"{platform}/local/v1/images", "POST", pushed.to_json())
    app = {
        "name": APP,
        "org": ORG,
        "tokens": {token: owner for owner, token in TOKENS.items()},
        "checks": CHECKS,
        "floor": FLOOR,
        "image": images["v1"].ref,
        "machines": MACHINES,
        "region": "ord",
        "group": "app",
    }
    await call(f"{platform}/local/v1/apps", "POST", app)
    return Stage(
        processes=processes,
        policy=policy,
        images=images,
        platform=platform,
        edge=await processes.serve("edge", "edge", "--platform", platform, "--app", APP),
        pager=await processes.serve("pager", "pager", "--out", str(processes.folder / "pages.jsonl")),
        database=database,
    )
