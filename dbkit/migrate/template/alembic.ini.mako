# The database is named by the environment (DATABASE_URL, DB_*, .env), never by this file.
#
#   alembic revision --autogenerate -m "..." write the next revision
#   alembic upgrade head                     bring the database up to date
#   alembic upgrade head --sql               print the statements instead
#   alembic check                            do the models ask for a revision that is missing?
#   alembic -x timeout=60 upgrade head       wait at most 60 s for another migration and tables in use

[alembic]
script_location = ${script_location}
prepend_sys_path = .
path_separator = os

[loggers]
keys = root,sqlalchemy,alembic,dbkit

[handlers]
keys = console

[formatters]
keys = plain

[logger_root]
level = WARNING
handlers = console

[logger_sqlalchemy]
level = WARNING
handlers =
qualname = sqlalchemy.engine

[logger_alembic]
level = INFO
handlers =
qualname = alembic.runtime.migration

[logger_dbkit]
level = INFO
handlers =
qualname = dbkit.migrate

[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = plain

[formatter_plain]
format = %(levelname)-5.5s [%(name)s] %(message)s
