"""Settings, from wherever they are to one frozen, checked object in which every value remembers its origin.

>>> DatabaseSettings.load("postgresql://app@db.example/shop", environ={}, env_file=None, max_size=20).target
'app@db.example/shop'

Sources, strongest first: keyword arguments; a URL or mapping; ``DATABASE_URL`` and ``DB_*``; a ``.env`` file; an INI
section; and what nobody set is left to libpq. Keys: ``host``, ``port``, ``username`` (``user``), ``password``,
``database`` (``dbname``, ``name``), libpq's other parameters by libpq's names, and the numbers of ``PoolPolicy``
(``min_conn`` and ``max_conn`` are ``min_size`` and ``max_size``). A variable is ``DB_`` and the key in capitals;
``DB_PASSWORD_FILE`` names a file that holds the password. Which source may fill what another leaves out is told in
``docs/decisions/settings-sources.md``.

No secret appears in a ``repr``, an error or a message, nor in the local variables of dbkit's frames when bad settings
raise. What the caller's own variables and ``os.environ`` hold is out of reach.
"""

from dbkit.settings.model import DatabaseSettings
from dbkit.settings.secret import Secret

__all__ = ["DatabaseSettings", "Secret"]
