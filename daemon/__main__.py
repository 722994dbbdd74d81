"""Lets ``python daemon …`` run from a bare checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from rollguard.cli.main import main

sys.exit(main())
