"""Puts changed code into functions that are imported already, and notes which functions a test reaches."""

from __future__ import annotations

import ast
import mmap
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from types import CodeType, FunctionType, ModuleType
from typing import Any

from .changes import Function, Mutant, compiled, functions_of, parsed

DECORATED = ("fget", "fset", "__func__", "__wrapped__", "func")
"""Where decorators keep the function that they were given."""

NOTE = "reached_by_a_test"
"""The name, in a changed module, of what its functions note in that they were reached."""


class Reached:
    """Which functions were reached, in this process or in those that it forked: they share the memory.

    Args:
        functions: those that may be.
    """

    def __init__(self, functions: list[Function]) -> None:
        self._functions = functions
        self._notes = mmap.mmap(-1, len(functions))

    def note(self, number: int) -> None:
        """The function with this number was reached."""
        self._notes[number] = 1

    def clear(self) -> None:
        """Begin anew."""
        self._notes[:] = bytes(len(self._functions))

    def found(self) -> list[Function]:
        """Those that were reached since."""
        return [function for function, noted in zip(self._functions, self._notes[:], strict=True) if noted]


def put_in_place(mutant: Mutant) -> None:
    """Give the function its changed code, wherever it was imported to. For use in a process that tries no other."""
    _replace(mutant.function, mutant.code())


def note_what_is_reached(paths: list[str]) -> Reached:
    """Have every function of these files note that it was reached, each time it runs."""
    everything = [function for path in paths for function in functions_of(path)]
    reached = Reached(everything)
    for number, function in enumerate(everything):
        body = function.node.body
        first = 1 if ast.get_docstring(function.node, clean=False) is not None else 0
        call = ast.parse(f"{NOTE}({number})").body[0]
        body.insert(first, ast.copy_location(call, body[min(first, len(body) - 1)]))
    for path in paths:
        whole = compiled(path, parsed(path))
        vars(_module(path))[NOTE] = reached.note
        for function in functions_of(path):
            _replace(function, function.code_in(whole))
    return reached


def forget_caches(paths: list[str]) -> None:
    """Empty what ``functools`` keeps for the functions of these files, so that each test reaches them."""
    for path in paths:
        for value in list(vars(_module(path)).values()):
            if hasattr(value, "cache_clear"):
                value.cache_clear()


@cache
def _module(path: str) -> ModuleType:
    return import_module(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))


def _replace(function: Function, code: CodeType) -> None:
    owner: Any = _module(function.path)
    *classes, name = function.name.split(".")
    for inner in classes:
        owner = vars(owner)[inner]
    for found in _below_decorators(vars(owner)[name]):
        old = found.__code__
        if old.co_firstlineno == function.line and old.co_filename.endswith(function.path):
            if not code.co_freevars:  # the change took the only use of super() away
                code = code.replace(co_freevars=old.co_freevars)
            found.__code__ = code
            return
    raise LookupError(f"{function.path} has no function {function.name} at line {function.line}")


def _below_decorators(value: Any) -> Iterator[FunctionType]:
    if isinstance(value, FunctionType):
        yield value
    for name in DECORATED:
        if (inner := getattr(value, name, None)) is not None:
            yield from _below_decorators(inner)
