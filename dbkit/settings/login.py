"""The login: a password, a file or a token. Several settings, one result.

Each source says one ``Login``, and the strongest source's ``Login`` wins whole. A source says it by

- ``password``, or ``password_file``, which is read once;
- ``credential``: ``azure``, ``aws`` or ``gcp`` (a token), ``file`` (``password_file``, read at each connection
  attempt), or ``password``, which turns weaker sources' credentials off and leaves their password;
- ``identity_enabled``, an older word: on is ``credential=azure``, off is ``credential=password``. It is a switch, so a
  password may stand beside it for when it is off. Any other two of these in one source contradict each other.

Two details may come from a weaker source, since a program's ``credential="file"`` leaves them open: the file to read,
and the ``credential_scope`` of the same credential, or of none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from dbkit.core.policy import NEITHER_TRUE_NOR_FALSE, truth
from dbkit.errors import Fault
from dbkit.settings.files import Unresolved
from dbkit.settings.keys import CHOICES, CREDENTIAL, CREDENTIAL_SCOPE, IDENTITY_ENABLED, PASSWORD_FILE
from dbkit.settings.secret import Secret
from dbkit.settings.sources import Layer, SecretFile, Setting, read_secret_file, says_otherwise

_PASSWORD, _FILE, _AZURE = "password", "file", "azure"
_SCOPED = (_AZURE, "gcp")
_OF_A_PASSWORD = ("password", PASSWORD_FILE)
_SAID_BY = (*_OF_A_PASSWORD, CREDENTIAL, IDENTITY_ENABLED)


@dataclass(frozen=True, slots=True)
class Login:
    """How to log in, as a source says it.

    Attributes:
        kind: ``password``, ``file``, ``azure``, ``aws`` or ``gcp``; or something else that was given as one.
        detail: the one thing its kind takes: the password or the file that holds it, the file to read, the scope.
        otherwise: the password to log in with where a stronger source turns credentials off.
        faults: what is wrong with it; told if it is used.
    """

    kind: Setting
    detail: Setting | None = None
    otherwise: Login | None = None
    faults: tuple[Fault, ...] = ()

    def over(self, weaker: Login | None) -> Login:
        """This login, where a weaker source says another: it wins whole, but for what it leaves open."""
        if weaker is None:
            return self
        password = weaker if weaker.kind.value == _PASSWORD else weaker.otherwise
        if self.kind.value == _PASSWORD:
            if self.detail is not None or password is None:
                return self
            return replace(password, faults=(*self.faults, *password.faults))
        giver = weaker if weaker.kind == self.kind else password if self.kind.value == _FILE else None
        detail, faults = self.detail, self.faults
        if detail is None and giver and (giver is not password or giver.is_in_a_file):
            detail, faults = giver.detail, (*faults, *giver.faults)
        return replace(self, detail=detail, otherwise=self.otherwise or password, faults=faults)

    @property
    def is_in_a_file(self) -> bool:
        """Whether its password stands in a file, and not in the settings."""
        return self.detail is not None and isinstance(self.detail.value, SecretFile | Unresolved)


def take_login(layer: Layer) -> None:
    """Put one ``Login`` in place of a source's single settings of it."""
    said = {key: layer.values.pop(key) for key in _SAID_BY if key in layer.values}
    doubts = [doubt for doubt in layer.doubts if doubt.key in said]
    layer.doubts = [doubt for doubt in layer.doubts if doubt.key not in said]
    layer.login = _login(said, doubts)
    if layer.login is not None and layer.login.kind.value in _SCOPED:
        layer.login = replace(layer.login, detail=layer.values.pop(CREDENTIAL_SCOPE, None))


def _login(said: Mapping[str, Setting], doubts: Sequence[Fault]) -> Login | None:
    named, switch = said.get(CREDENTIAL), said.get(IDENTITY_ENABLED)
    if named is None and switch is None:
        return _password(said, doubts)
    faults = [doubt for doubt in doubts if doubt.key not in _OF_A_PASSWORD]
    on = truth(switch.value) if switch else None
    if switch and on is None:
        unresolved = switch.value if isinstance(switch.value, Unresolved) else None
        reason, shown = (unresolved.reason, "") if unresolved else (NEITHER_TRUE_NOR_FALSE, repr(switch.value))
        faults.append(Fault(IDENTITY_ENABLED, reason, shown, switch.origin))
    kind = named or Setting(_AZURE if on else _PASSWORD, switch.origin if switch else "")
    if named:
        faults += _contradictions(named, said, on=on)
    if kind.value == _FILE and PASSWORD_FILE in said:
        said = {PASSWORD_FILE: said[PASSWORD_FILE]}
    return Login(kind, faults=tuple(faults)).over(_password(said, doubts))


def _password(said: Mapping[str, Setting], doubts: Sequence[Fault]) -> Login | None:
    text, file = said.get("password"), said.get(PASSWORD_FILE)
    if file and isinstance(file.value, str):  # of settings that are being replaced
        file = Setting(SecretFile(Secret(file.value)), file.origin)
    detail = text or file
    if detail is None:
        return None
    faults = [doubt for doubt in doubts if doubt.key in _OF_A_PASSWORD]
    if text and file:
        faults.append(says_otherwise("password", text, file))
    return Login(Setting(_PASSWORD, detail.origin), detail, faults=tuple(faults))


def _contradictions(named: Setting, said: Mapping[str, Setting], *, on: bool | None) -> list[Fault]:
    """The settings beside a ``credential`` in one source that do not go with it."""
    if named.value not in CHOICES[CREDENTIAL]:
        return []  # which is refused anyway
    beside: dict[str, str] = {}
    if named.value != _PASSWORD:
        beside["password"] = "would not be used"
    if named.value not in (_PASSWORD, _FILE):
        beside[PASSWORD_FILE] = "would not be used"
    if on and named.value != _AZURE:
        beside[IDENTITY_ENABLED] = "means credential=azure"
    if on is False and named.value == _AZURE:
        beside[IDENTITY_ENABLED] = "means no Azure"
    return [_keep_one(key, meaning, said[key], named) for key, meaning in beside.items() if key in said]


def _keep_one(key: str, meaning: str, setting: Setting, named: Setting) -> Fault:
    reason = f"{meaning}, but credential is {named.value} ({named.origin}); keep one of the two"
    return Fault(key, reason, "" if key in _OF_A_PASSWORD else repr(setting.value), setting.origin)


def spell_out(login: Login | None, scope: Setting | None) -> tuple[dict[str, Setting], list[Fault]]:
    """The settings of the login that won: a password, read from its file, or a credential and its detail.

    Args:
        login: the one that won; None if no source says any.
        scope: a scope that stands beside no credential, for the one that takes it.

    Returns:
        The settings by key, and what is wrong with them.
    """
    unused = {} if scope is None else {CREDENTIAL_SCOPE: scope}
    if login is None:
        return unused, []
    faults, kind, detail = list(login.faults), login.kind, login.detail
    if kind.value == _PASSWORD:
        read = detail
        if detail and isinstance(detail.value, SecretFile):
            found = read_secret_file(detail.value, detail.origin)
            read = found if isinstance(found, Setting) else None
            faults += [found] if isinstance(found, Fault) else []
        return unused | ({"password": read} if read else {}), faults
    if kind.value in _SCOPED:
        detail = detail or scope
        return {CREDENTIAL: kind} | ({CREDENTIAL_SCOPE: detail} if detail else {}), faults
    if scope is not None:
        faults.append(_keep_one(CREDENTIAL_SCOPE, f"is for {' and '.join(_SCOPED)}", scope, kind))
    if kind.value == _FILE and detail is None:
        password = login.otherwise and login.otherwise.detail
        instead = f"; the password ({password.origin}) is none" if password else ""
        reason = f"needs password_file, the file to read at each connection attempt{instead}"
        faults.append(Fault(CREDENTIAL, reason, repr(_FILE), kind.origin))
    return {CREDENTIAL: kind} | ({PASSWORD_FILE: detail} if detail else {}), faults
