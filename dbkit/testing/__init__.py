"""Helpers for the tests of an application, from the extra ``testing``.

With it pytest has the fixtures ``db``, ``db_session``, ``db_rolled_back``, ``db_faults`` and ``dbkit_server`` (see
``dbkit_pytest``). Here is the rest: ``ModelFactory``, ``FakeClock``, and the parts that the fixtures are made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbkit.testing.clock import FakeClock

if TYPE_CHECKING:
    from dbkit.embedded import EmbeddedPostgres
    from dbkit.testing.factories import ModelFactory
    from dbkit.testing.faults import Faults
    from dbkit.testing.rollback import RolledBack, rolled_back

__all__ = ["EmbeddedPostgres", "FakeClock", "Faults", "ModelFactory", "RolledBack", "rolled_back"]

_HOMES = {
    "EmbeddedPostgres": "dbkit.embedded",
    "Faults": "dbkit.testing.faults",
    "ModelFactory": "dbkit.testing.factories",
    "RolledBack": "dbkit.testing.rollback",
    "rolled_back": "dbkit.testing.rollback",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for: each needs a package that the others do not."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
