"""What the constructors of both managers make of their arguments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dbkit.core.policy import NAMES

if TYPE_CHECKING:
    from dbkit.core.policy import PoolNumbers


def overrides(numbers: PoolNumbers, credential: object, allow_insecure_token: bool | None) -> dict[str, Any]:
    """The settings that the arguments of a call give."""
    given: dict[str, Any] = dict(numbers)
    if allow_insecure_token is not None:
        given["allow_insecure_token"] = allow_insecure_token
    if isinstance(credential, str):
        given["credential"] = credential
    return given


def wrong_keyword(function: str, numbers: Mapping[str, object]) -> str | None:
    """The message about a keyword that there is not; None if all are known. Type checkers tell it before."""
    wrong = next((name for name in numbers if name not in NAMES), None)
    if wrong is None:
        return None
    from dbkit.settings.hints import meant_keyword  # only for a mistake

    hint = meant_keyword(wrong, ("credential", "allow_insecure_token", "warm", "engine_options", *NAMES))
    return f"{function} got an unexpected keyword argument '{wrong}'" + (f"; {hint}" if hint else "")
