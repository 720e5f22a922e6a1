"""A plain script: copy a file of names into a table, and tell how many there are now.

    DATABASE_URL=postgresql://... python -m examples.recipes.plain_script names.csv

All or nothing; the exit code is 1 where the database refuses. The block closes the pool, so the script ends at once.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from dbkit import DatabaseConnectionManager, DbkitError


def main(path: str) -> int:
    """Copy the file; return the exit code."""
    try:
        with DatabaseConnectionManager(min_size=0, max_size=1) as db, Path(path).open(newline="") as file:
            rows = ({"name": line[0]} for line in csv.reader(file) if line)
            copied = db.copy_rows("names", rows, columns=["name"])
            total = db.execute_query("SELECT count(*) FROM names").scalar()
    except (DbkitError, DBAPIError, OSError) as error:
        print(f"nothing was copied: {error}", file=sys.stderr)
        return 1
    print(f"{copied} copied, {total} in all")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
