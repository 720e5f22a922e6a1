"""Settings, from wherever they are to one frozen, checked object in which every value remembers its origin.

>>> DatabaseSettings.load("postgresql://app@db.example/shop", environ={}, env_file=None, max_size=20).target
'app@db.example/shop'

Sources, strongest first: keyword arguments; a URL or mapping; ``DATABASE_URL`` and ``DB_*``; a ``.env`` file; an INI
section; the program's ``defaults``; and what no source sets is left to libpq. Keys: ``host``, ``port``, ``username``
(``user``), ``password``, ``database`` (``dbname``, ``name``), ``driver`` (``psycopg2``, ``psycopg`` or
``asyncpg``), libpq's other parameters by libpq's names, and the numbers of ``PoolPolicy`` (``min_conn`` and
``max_conn`` are ``min_size`` and ``max_size``). A variable is ``DB_`` and the key in capitals.
``docs/decisions/settings-sources.md`` tells which source may fill in what another leaves out.

The login is a ``password``; or ``password_file``, a file that holds it, read once; or a ``credential``, asked at each
connection attempt: ``azure``, ``aws``, ``gcp`` (a token; ``credential_scope`` for Azure and GCP), or ``file``
(``password_file``, read each time). ``identity_enabled``, whose variable is ``IDENTITY_ENABLED``, is an older word for
``credential=azure``. The strongest source that says any of these decides the login as a whole. ``settings.route`` tells
where a password travels, and why a token must not travel there; ``allow_insecure_token`` overrides that.

No secret appears in a ``repr``, an error or a message, nor in the local variables of dbkit's frames when bad settings
raise. The caller's own variables and ``os.environ`` are out of reach.
"""

from dbkit.settings.model import DatabaseSettings
from dbkit.settings.secret import Secret

__all__ = ["DatabaseSettings", "Secret"]
