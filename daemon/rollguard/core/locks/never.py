"""What nothing at all bypasses."""

from __future__ import annotations

from rollguard.core import text
from rollguard.core.case import Case


def deploying(case: Case, now: float) -> str | None:
    """It is bad while somebody deploys: the guard waits for the end of it, however long that takes."""
    return f"a deploy is under way: waiting for {case.deploy} to end or be cancelled" if case.deploy else None


def there_already(case: Case, now: float) -> str | None:
    """There is nothing to do."""
    if case.target is None:
        return None
    managed = case.snapshot.managed
    same = managed and all(m.digest == case.target.digest for m in managed)
    return "every managed machine already runs the target" if same else None


def no_image(case: Case, now: float) -> str | None:
    """What cannot be pulled cannot be gone back to."""
    if case.target is None or case.resolvable:
        return None
    why = "is gone from the registry" if case.resolvable is False else "could not be looked up"
    return f"the target's image {case.target.image_ref} {why}"


def nowhere(case: Case, now: float) -> str | None:
    """Overriding "target not proven" lets a person choose; it cannot conjure up a release."""
    return "no release was named to go back to" if case.target is None and case.overrides else None


def no_rows(case: Case, now: float) -> str | None:
    """Without the list nobody could tell a person's next release from the ones before."""
    deployed = any(m.release_version is not None for m in case.snapshot.managed)
    return (
        "the list of releases is empty, though the machines are of one"
        if deployed and not case.snapshot.releases
        else None
    )


def unseen(case: Case, now: float) -> str | None:
    """What was not seen lately is not known."""
    age_s = now - case.snapshot.at
    if age_s <= 3 * case.policy.platform_every_s + 10.0:
        return None
    return f"the platform has not answered for {text.seconds(age_s)}"
