"""The command ``dbkit`` and what all of its commands share: their errors, and how they end."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

import click
from sqlalchemy import exc

from dbkit.cli.bench.command import bench
from dbkit.cli.check.command import check
from dbkit.cli.plain import plain
from dbkit.cli.top.command import top
from dbkit.errors import DbkitError, SettingsError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("dbkit-postgres"), prog_name="dbkit")
def dbkit() -> None:
    """See what a PostgreSQL server and a pool of connections do.

    The server is the one that an application would use: DATABASE_URL, DB_*, .env, or the URL given here.
    A password is better kept in the environment than on a command line, which others on the machine can read.

    \b
    Examples:
      dbkit check                       is everything in order?
      dbkit top --app /run/app.sock     who uses the database, and the pool, now?
      dbkit bench --seconds 20          how large should the pool be?

    \b
    Completion in the shell, for bash (zsh and fish likewise):
      eval "$(_DBKIT_COMPLETE=bash_source dbkit)"
    """


for command in (check, top, bench):
    dbkit.add_command(command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; a user's mistake is one message on standard error, never a traceback.

    Returns:
        The exit code.
    """
    try:
        code = dbkit.main(arguments, prog_name="dbkit", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("stopped\n")
        return 130
    except SettingsError as error:
        return _say(error, code=2)
    except exc.DBAPIError as error:
        return _say(error.orig or error, code=1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at its end
        return 0
    except (DbkitError, exc.SQLAlchemyError, OSError) as error:
        return _say(error, code=1)
    return code if isinstance(code, int) else 0


def _say(error: BaseException, *, code: int) -> int:
    lines = [plain(line).strip() for line in str(error).splitlines() if not line.startswith("(Background on")]
    click.echo("dbkit: " + "\n  ".join(line for line in lines if line), err=True)
    return code
