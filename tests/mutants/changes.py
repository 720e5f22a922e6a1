"""The changes: every mutant of a file, in a fixed order, each with a name that does not depend on line numbers."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
}
CALLS = {"min": "max", "max": "min", "any": "all", "all": "any", "popleft": "pop", "appendleft": "append"}
DELETED = (ast.Expr, ast.Assign, ast.AugAssign, ast.Raise, ast.Delete)


@dataclass(frozen=True, eq=False)
class Function:
    """A function of a file that can be changed.

    Attributes:
        path: the file, below the project's root.
        name: its dotted name.
        line: its first, or that of its first decorator.
        node: it, in the file's tree.
    """

    path: str
    name: str
    line: int
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def label(self) -> str:
        """What it is known by to those who note what a test reaches."""
        return f"{self.path} {self.name} {self.line}"

    def code_in(self, code: CodeType) -> CodeType:
        """Its code, in that of the whole file."""
        *classes, name = self.name.split(".")
        for inner in classes:
            code = next(found for found in _inner(code) if found.co_name == inner)
        return next(found for found in _inner(code) if found.co_name == name and found.co_firstlineno == self.line)


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        function: in which it is.
        change: the code before and after it, with a number if the same change can be made more than once.
        place, new: the nodes of that code.
    """

    function: Function
    change: str
    place: ast.AST
    new: ast.AST

    @property
    def name(self) -> str:
        """What results and the list of survivors know it by."""
        return f"{self.function.path} {self.function.name}: {self.change}"

    def code(self) -> CodeType:
        """The function, changed. Changes the tree for good: for use in a process that tries no other mutant."""
        path = self.function.path
        return self.function.code_in(compiled(path, _Replace(self.place, self.new).visit(parsed(path))))


class _Replace(ast.NodeTransformer):
    def __init__(self, place: ast.AST, new: ast.AST) -> None:
        self._place, self._new = place, new

    def visit(self, node: ast.AST) -> ast.AST:
        replaced: ast.AST = self._new if node is self._place else self.generic_visit(node)
        return replaced


@cache
def parsed(path: str) -> ast.Module:
    """A file's tree, always the same one."""
    return ast.parse(Path(path).read_text(), path)


def compiled(path: str, tree: ast.Module) -> CodeType:
    """The code of a changed tree, with the file's full name, by which the pool knows its own code."""
    return compile(ast.fix_missing_locations(tree), Path(path).resolve(), "exec")


def mutants_of(path: str) -> Iterator[Mutant]:
    """Every mutant of the functions of a file, in the order of its text."""
    seen: Counter[str] = Counter()
    for function in functions_of(path):
        for place in [inner for inner in _walk(function.node) if inner is not function.node]:
            for old, new in _changes(place):
                change = f"{_text(old)}  ->  {_text(new)}"
                seen[function.name + change] += 1
                if seen[function.name + change] > 1:
                    change += f"  ({seen[function.name + change]})"
                yield Mutant(function, change, place, new)


@cache
def functions_of(path: str) -> tuple[Function, ...]:
    """The functions of a file and of its classes, but for those that only show something to a developer."""
    return tuple(found for found in _functions(path, parsed(path), "") if not found.name.endswith("__repr__"))


def _functions(path: str, node: ast.AST, within: str) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            if not any("overload" in ast.unparse(decorator) for decorator in child.decorator_list):
                line = min([child.lineno, *(decorator.lineno for decorator in child.decorator_list)])
                yield Function(path, within + child.name, line, child)
        elif isinstance(child, ast.ClassDef):
            yield from _functions(path, child, f"{within}{child.name}.")


def _inner(code: CodeType) -> Iterator[CodeType]:
    return (found for found in code.co_consts if isinstance(found, CodeType))


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """All that is carried out: no annotation, decorator, default, docstring or message of an error."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "args") and not isinstance(node, ast.Call):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue
            if isinstance(child, ast.AST):
                yield from _walk(child)


def _changes(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    match node:
        case ast.Compare(ops=[op, *_]) if type(op) in COMPARISONS:
            for number, op in enumerate(node.ops):
                new = copy.deepcopy(node)
                new.ops[number] = COMPARISONS[type(op)]()
                yield node, new
        case ast.BoolOp():
            new = copy.deepcopy(node)
            new.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield node, new
        case ast.UnaryOp(op=ast.Not()):
            yield node, node.operand
        case ast.BinOp() if type(node.op) in ARITHMETIC:
            new = copy.deepcopy(node)
            new.op = ARITHMETIC[type(node.op)]()
            yield node, new
        case ast.Constant(value=bool()):
            yield node, ast.Constant(not node.value)
        case ast.Constant(value=int() | float()):
            yield node, ast.Constant(node.value + 1)
        case ast.Call(func=ast.Name(id=name)) if name in CALLS:
            new = copy.deepcopy(node)
            new.func.id = CALLS[name]
            yield node, new
        case ast.Call(func=ast.Attribute(attr=name)) if name in CALLS:
            new = copy.deepcopy(node)
            new.func.attr = CALLS[name]
            yield node, new
    if isinstance(node, DELETED):
        yield node, ast.Pass()


def _text(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())
