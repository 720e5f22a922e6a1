"""Fault drills: real servers, networks and processes on their worst day, each with the same closing check.

``make drills`` runs them, and shows their figures; ``DBKIT_DRILLS=long`` runs all rounds. A drill that needs a program
of the system is skipped with the reason where it is missing; ``DBKIT_DRILLS_REQUIRE=pgbouncer,netns`` makes that a
failure. The figures of a run lie in ``build/drills/``; ``docs/reliability.md`` is made from the committed ones.
"""
