"""Where a flyctl comes from, and when it may be missing: what `make conformance` decides before it needs one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.obtain import MODULE, VERSION, obtain

REFUSED = f"go: {MODULE}@{VERSION}: reading https://proxy.example/{MODULE}/@v/{VERSION}.zip: 403 Forbidden"


def program(folder: Path, name: str, script: str = "") -> Path:
    """An executable of that name."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def environ(tmp_path: Path, **more: str) -> dict[str, str]:
    """A machine with a PATH and a cache of its own."""
    return {"PATH": str(tmp_path / "bin"), "XDG_CACHE_HOME": str(tmp_path / "cache"), **more}


def test_a_named_one_comes_before_one_on_the_path(tmp_path: Path) -> None:
    on_path, named = program(tmp_path / "bin", "fly"), program(tmp_path / "mine", "flyctl")
    assert obtain(environ(tmp_path, FLYCTL=str(named))).binary == named
    assert obtain(environ(tmp_path)).binary == on_path


def test_a_named_one_that_is_none_is_an_error_everywhere(tmp_path: Path) -> None:
    program(tmp_path / "bin", "flyctl")
    obtained = obtain(environ(tmp_path, FLYCTL=str(tmp_path / "gone")))
    assert (obtained.binary, obtained.excused) == (None, False)


@pytest.mark.parametrize(("more", "excused"), [({}, True), ({"CI": "true"}, False)])
def test_without_go_it_may_be_missing_but_not_under_ci(tmp_path: Path, more: dict[str, str], excused: bool) -> None:
    obtained = obtain(environ(tmp_path, **more))
    assert (obtained.binary, obtained.why_not, obtained.excused) == (None, "no Go", excused)


def test_go_builds_it_once_into_the_cache(tmp_path: Path) -> None:
    program(tmp_path / "bin", "go", 'printf "#!/bin/sh\n" > "$GOBIN/flyctl"; /bin/chmod +x "$GOBIN/flyctl"')
    built = obtain(environ(tmp_path)).binary
    assert built == tmp_path / "cache" / "rollguard" / f"flyctl-{VERSION}" / "flyctl"
    program(tmp_path / "bin", "go", "exit 1")
    assert obtain(environ(tmp_path)).binary == built


@pytest.mark.parametrize(
    ("said", "excused"),
    [
        (REFUSED, True),
        (REFUSED.replace("403 Forbidden", "410 Gone"), True),
        ("./main.go:1:1: syntax error", False),
        (REFUSED.replace("403 Forbidden", "500 Internal Server Error"), False),
    ],
    ids=["refused", "gone", "does-not-build", "out-of-order"],
)
def test_only_a_module_that_the_proxy_refuses_excuses_ci(tmp_path: Path, said: str, excused: bool) -> None:
    program(tmp_path / "bin", "go", f"echo '{said}' >&2; exit 1")
    obtained = obtain(environ(tmp_path, CI="true"))
    assert (obtained.binary, obtained.excused) == (None, excused)
    assert said in obtained.why_not, "the evidence"
