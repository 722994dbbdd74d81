"""``python -m tests.simulation.soak --seed N`` lives through one seed and tells its story."""

from __future__ import annotations

import sys

from tests.simulation.soak.run import main

sys.exit(main())
