"""Python imports this when it starts, in every process that a drill starts: it is watched by the canary there."""

import os
import sys
from pathlib import Path

if "DBKIT_CANARY" in os.environ:
    root = str(Path(__file__).parents[3])
    sys.path.append(root)  # for one that runs elsewhere
    from tests.drills.canary import watch_this_process

    sys.path.pop()
    watch_this_process(Path(os.environ["DBKIT_CANARY"]))
