"""``python -m rollguard.config > config/policy.schema.json``"""

import json
import sys

from rollguard.config.schema import json_schema

sys.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")
