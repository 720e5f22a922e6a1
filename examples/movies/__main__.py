"""``python -m examples.movies``: run the command, and end cleanly on Ctrl-C and on a closed pipe."""

from __future__ import annotations

import os
import signal
import sys

from examples.movies.interrupt import CtrlC

INTERRUPTED = 130  # what a shell reports of a program that SIGINT ended


def main() -> int:
    """Run the command with the program's arguments; return its exit code."""
    try:
        with CtrlC():  # an interrupted import may swallow the exception, or end the program by the signal all the same
            from examples.movies.command import run
        return run(sys.argv[1:])
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the last flush complains
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is cleared up


if __name__ == "__main__":
    sys.exit(main())
