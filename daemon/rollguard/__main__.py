"""``python -m rollguard`` is ``rollguard``."""

import sys

from rollguard.cli.main import main

sys.exit(main())
