"""Lets ``python daemon …`` run from a bare checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from rollguard.cli.main import main  # noqa: E402  (the path must be set first)

sys.exit(main())
