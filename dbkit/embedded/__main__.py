"""``python -m dbkit.embedded``."""

import sys

from dbkit.embedded.command import main

sys.exit(main())
