"""What ``dbkit check`` says: findings, each with a mark, a sentence and a remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Mark(Enum):
    """How a check went. The value is its word in ``--json``."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        check: what was looked at, a short stable name: ``port``, ``tls``, ``capacity``.
        mark: how it went.
        says: what was found, one sentence or two.
        remedy: what to do; empty where nothing is to be done.
    """

    check: str
    mark: Mark
    says: str
    remedy: str = ""


def ok(check: str, says: str) -> Finding:
    """All is well."""
    return Finding(check, Mark.OK, says)


def note(check: str, says: str, remedy: str = "") -> Finding:
    """Worth knowing."""
    return Finding(check, Mark.NOTE, says, remedy)


def warning(check: str, says: str, remedy: str) -> Finding:
    """Works today, and will hurt one day."""
    return Finding(check, Mark.WARNING, says, remedy)


def problem(check: str, says: str, remedy: str) -> Finding:
    """Does not work."""
    return Finding(check, Mark.PROBLEM, says, remedy)


def exit_code(findings: Iterable[Finding], *, strict: bool = False) -> int:
    """For scripts: 0 where there is no problem, else 1.

    Args:
        findings: all of them.
        strict: warnings count as problems.
    """
    bad = {Mark.PROBLEM, Mark.WARNING} if strict else {Mark.PROBLEM}
    return int(any(finding.mark in bad for finding in findings))
