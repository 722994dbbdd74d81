"""``make conformance``: get a flyctl, then hold the local platform and the guard against it.

Without one it is skipped loudly where nobody could have had one (no Go, unless under CI; a module proxy that refuses
the module), and fails otherwise.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.conformance.obtain import obtain

RULE = "=" * 100
AT_ONCE = 4  # they wait far more than they work


def main() -> int:
    """The exit code."""
    obtained = obtain(os.environ)
    if obtained.binary is None:
        word = "SKIPPED" if obtained.excused else "FAILED"
        print(f"{RULE}\nconformance {word}: there is no flyctl to be had here.\n{obtained.why_not}\n{RULE}")
        return 0 if obtained.excused else 1
    os.environ["FLYCTL"] = str(obtained.binary)
    os.environ["ROLLGUARD_CONFORMANCE"] = "1"
    here = str(Path(__file__).parent)
    return int(pytest.main(["-q", "-p", "no:cacheprovider", "-n", str(AT_ONCE), here, *sys.argv[1:]]))


if __name__ == "__main__":
    sys.exit(main())
