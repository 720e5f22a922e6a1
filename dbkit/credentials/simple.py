"""Credentials that need no cloud's SDK: a function, a file."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from dbkit.credentials.base import BaseCredential, Token, said
from dbkit.credentials.errors import CredentialError
from dbkit.credentials.remote import RemoteCredential
from dbkit.settings.secret import Secret
from dbkit.settings.sources import SecretFile, Setting, read_secret_file

logger = logging.getLogger("dbkit.credentials")


class FileCredential(RemoteCredential):
    """A password in a file that another program rewrites (a Vault agent, a mounted secret).

    Read at each connection attempt. The file is UTF-8; one newline at its end does not count. A program that changes it
    should rename a new file into place, so that no reader sees half of it. Thread-safe.

    Args:
        path: the file. It need not be there before the first connection attempt.
        timeout: seconds that a connection attempt waits for it: a network's file system may be gone, and a named pipe
            has nothing to give.
    """

    def __init__(self, path: str | os.PathLike[str], *, timeout: float = 10.0) -> None:
        super().__init__(timeout=timeout)
        self._file = SecretFile(Secret(os.fspath(path)))
        self._last: Secret | None = None

    def current(self) -> Secret | Token:
        """The password in the file now; the previous one while the file cannot be read, or is being written.

        Raises:
            CredentialError: it cannot be read, or is empty, and no password was ever read from it.
        """
        try:
            return super().current()
        except CredentialError as error:
            if self._last is None:
                raise
            logger.warning("The previous password is used: %s", said(error))
            return self._last

    def renewed(self, rejected: Secret | Token) -> Secret | Token | None:
        """The password in the file, if it is another than the rejected one. Looked up each time: it costs little."""
        return BaseCredential.renewed(self, rejected)

    def fetch(self) -> Secret:
        """Read it."""
        found = read_secret_file(self._file, "credential file")
        if isinstance(found, Setting) and isinstance(found.value, Secret):
            self._last = found.value
            return found.value
        raise CredentialError(f"the password could not be read: {found}")

    def __repr__(self) -> str:
        return f"the credential file {self._file.shown}".rstrip()


class CallableCredential(RemoteCredential):
    """Calls a function without arguments, which returns a password or a ``Token(value, expires_at)``.

    A ``Token`` is kept until shortly before it expires. A plain ``str`` does not tell how long it is good, so the
    function is called at every connection attempt.

    Args:
        function: called on a thread of its own; may block for ``timeout``.
        timeout: seconds that a connection attempt waits for it.
    """

    def __init__(self, function: Callable[[], str | Secret | Token], *, timeout: float = 10.0) -> None:
        super().__init__(timeout=timeout)
        self._function = function

    def fetch(self) -> str | Secret | Token:
        """Call it."""
        return self._function()

    def __repr__(self) -> str:
        # not its repr: that of a functools.partial shows its arguments
        name = getattr(self._function, "__qualname__", None) or type(self._function).__qualname__
        return f"the credential {name}"
