"""Credentials that need nobody's SDK: a callable, a file."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable

from dbkit.credentials.base import Token, said, text_of
from dbkit.credentials.errors import CredentialError
from dbkit.credentials.remote import RemoteCredential
from dbkit.settings.secret import Secret
from dbkit.settings.sources import SecretFile, Setting, read_secret_file

logger = logging.getLogger("dbkit.credentials")


class FileCredential:
    """A password in a file that somebody else rewrites (a Vault agent, a mounted secret): read at each connect.

    The file is UTF-8; one newline at its end does not count. Whoever changes it should rename a new one into place, so
    that nobody reads half of it. Thread-safe.

    Args:
        path: the file. It need not be there before the first connect.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Secret(os.fspath(path))  # somebody will put the password itself there
        self._last: Secret | None = None

    def current(self) -> Secret:
        """The password in the file now; while that cannot be read, or is being written, the one of before.

        Raises:
            CredentialError: it cannot be read, or is empty, and never was otherwise.
        """
        try:
            self._last = self._read()
        except CredentialError as error:
            if self._last is None:
                raise
            logger.warning("The password of before is used: %s", said(error))
        return self._last

    def _read(self) -> Secret:
        found = read_secret_file(SecretFile(self._path), "credential file")
        if isinstance(found, Setting) and isinstance(found.value, Secret):
            return found.value
        raise CredentialError(f"the password could not be read: {found}")

    def renewed(self, rejected: Secret | Token) -> Secret | None:
        """The password in the file now, if it is another one than was rejected.

        Raises:
            CredentialError: as ``current()``.
        """
        found = self.current()
        return None if found == text_of(rejected) else found

    def refresh(self) -> None:
        """Read it, as each connect does anyway.

        Raises:
            CredentialError: it cannot be read, or is empty.
        """
        self._last = self._read()

    def __repr__(self) -> str:
        return type(self).__name__


class CallableCredential(RemoteCredential):
    """Whatever a function without arguments returns: a password, or a ``Token(value, expires_at)``.

    A ``Token`` is kept until shortly before it expires. A plain ``str`` says nothing of how long it is good, so the
    function is asked at every physical connect.

    Args:
        function: called on a thread of its own; may block for ``timeout``.
        timeout: seconds a connect waits for it.
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
