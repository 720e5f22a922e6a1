"""``python -m dbkit``, the same as ``dbkit``."""

import sys

from dbkit.cli.launch import main

sys.exit(main())
