"""Settings, from wherever they are to one frozen, checked object in which every value remembers its origin.

>>> DatabaseSettings.load("postgresql://app@db.example/shop", environ={}, env_file=None, max_size=20).target
'app@db.example/shop'

Sources, strongest first: keyword arguments; a URL or mapping; ``DATABASE_URL`` and ``DB_*``; a ``.env`` file; an INI
section; the program's ``defaults``; and what nobody set is left to libpq. Keys: ``host``, ``port``, ``username``
(``user``), ``password``, ``database`` (``dbname``, ``name``), libpq's other parameters by libpq's names, and the
numbers of ``PoolPolicy`` (``min_conn`` and ``max_conn`` are ``min_size`` and ``max_size``). A variable is ``DB_`` and
the key in capitals. Which source may fill what another leaves out is told in ``docs/decisions/settings-sources.md``.

How one proves who one is: by ``password``, or ``password_file``, a file that holds it, read once; or by a
``credential``, asked at each connect: ``azure``, ``aws``, ``gcp`` (a token; ``credential_scope`` for Azure and GCP), or
``file`` (``password_file``, read anew). ``identity_enabled``, whose variable is ``IDENTITY_ENABLED``, is an older word
for ``credential=azure``. ``settings.route`` tells where a password travels, and why a token must not travel there;
``allow_insecure_token`` overrides that.

No secret appears in a ``repr``, an error or a message, nor in the local variables of dbkit's frames when bad settings
raise. What the caller's own variables and ``os.environ`` hold is out of reach.
"""

from dbkit.settings.model import DatabaseSettings
from dbkit.settings.secret import Secret

__all__ = ["DatabaseSettings", "Secret"]
