"""A pool shown to somebody outside of the process: a small read-only endpoint, and who asks it.

::

    from dbkit.live import serve

    serve(db, f"/run/shop/{os.getpid()}.sock")      # then: dbkit top --app /run/shop/4711.sock

The socket is private to the account of the process (mode 0600), and answers ``GET /pool`` with JSON, so that
``curl --unix-socket`` reads it too. No statement and no parameter is in it: numbers, threads' names and call sites.
"""

from dbkit.live.client import LiveError, ask
from dbkit.live.endpoint import LiveEndpoint, serve
from dbkit.live.view import HolderView, PoolView, Times

__all__ = ["HolderView", "LiveEndpoint", "LiveError", "PoolView", "Times", "ask", "serve"]
