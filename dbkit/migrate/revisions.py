"""The revisions of a folder of scripts, as facts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbkit.errors import MigrationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.script import ScriptDirectory


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision.

    Attributes:
        revision: its name.
        down: the revisions it follows: none for the first one, two or more for a merge.
        message: the first line of its docstring.
        path: its file.
        applied: whether the database has it.
        is_head: whether no other revision follows it.
    """

    revision: str
    down: tuple[str, ...]
    message: str
    path: str
    applied: bool
    is_head: bool


def _names(down: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if down is None else (down,) if isinstance(down, str) else tuple(down)


def all_revisions(script: ScriptDirectory, heads: Sequence[str]) -> tuple[Revision, ...]:
    """Return the revisions, the newest first.

    Args:
        script: the folder.
        heads: the revisions the database is at.

    Raises:
        MigrationError: a head is not among them.
    """
    from alembic.script.revision import RevisionError
    from alembic.util import CommandError

    try:
        applied = {found.revision for found in script.iterate_revisions(tuple(heads), "base")} if heads else set()
    except (CommandError, RevisionError) as error:
        raise MigrationError(
            f"the database is at {', '.join(heads)}, and {script.dir} does not have that: {error}. Get the scripts it "
            "was migrated with, or tell it where it is: stamp(database, revision, purge=True)."
        ) from error
    return tuple(
        Revision(
            revision=found.revision,
            down=_names(found.down_revision),
            message=found.doc,
            path=str(found.path),
            applied=found.revision in applied,
            is_head=found.is_head,
        )
        for found in script.walk_revisions()
    )
