"""How long a network may be silent: one number of seconds, and libpq's parameters that keep it.

Two clocks of the kernel are needed. ``tcp_user_timeout`` bounds how long sent data may stay unacknowledged. It says
nothing of a query that the server has acknowledged and not yet answered: there keepalive probes tell whether the other
side still exists, and the first one is sent after ``keepalives_idle``.
"""

from __future__ import annotations

import math


def silence_bounded(seconds: int) -> dict[str, object]:
    """libpq's parameters, under which a connection whose network went away fails after about ``seconds``.

    The first probe is sent after a third of the time, then one each tenth of it. Linux ends the connection at the first
    probe that is due once ``seconds`` are over; elsewhere ``keepalives_count`` unanswered ones come to the same.

    Args:
        seconds: of silence; 0 leaves it to the system, which means hours.
    """
    if not seconds:
        return {}
    idle, interval = max(1, seconds // 3), max(1, seconds // 10)
    return {
        "keepalives": 1,
        "keepalives_idle": idle,
        "keepalives_interval": interval,
        "keepalives_count": max(1, math.ceil((seconds - idle) / interval)),
        "tcp_user_timeout": seconds * 1000,
    }
