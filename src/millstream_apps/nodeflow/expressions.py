"""Safe expressions: a small part of Python, compiled once to a function of one value.

Users of a flow write them (`value.celsius > 80 and not value.muted`), so whatever the text, there
is either an ExpressionError when it is compiled, or a function that reads its value, returns
another, and can do nothing else: no attribute of an object is ever looked up (fields are read from
mappings and records), nothing is called but the functions listed here, there are no loops, and
what could grow without bound (powers, repetition, formatting, rounding) is bounded.

Why our own: evaluators that walk the syntax tree do so again for every message, where a compiled
function costs some 150 ns, and general sandboxes allow far more than a message needs. Knows nothing
of flows.
"""

import ast
import warnings
from collections.abc import Callable
from typing import Any

from millstream import StepError
from millstream_apps.nodeflow.safe_functions import CONSTANTS, FUNCTIONS, OPERATORS

MAX_LENGTH = 2_000
"""Characters."""
MAX_NODES = 400
MAX_DEPTH = 40

Function = Callable[[Any], Any]

_SHELL = """
def expression(value):
    try:
        return value
    except Exception as error:
        raise _failed(error) from None
"""

_PLAIN: tuple[type[ast.AST], ...] = (
    ast.BinOp,
    ast.BoolOp,
    ast.And,
    ast.Or,
    ast.UnaryOp,
    ast.Not,
    ast.USub,
    ast.UAdd,
    ast.Compare,
    ast.Eq,
    ast.NotEq,
    ast.Lt,
    ast.LtE,
    ast.Gt,
    ast.GtE,
    ast.In,
    ast.NotIn,
    ast.IfExp,
    ast.Load,
    ast.List,
    ast.Tuple,
    ast.Slice,
    ast.Subscript,
    ast.Add,
    ast.Sub,
    ast.Div,
    ast.FloorDiv,
    ast.JoinedStr,
)
"""What may stand in an expression as it is."""


class ExpressionError(StepError, ValueError):
    """A text that is no expression of this language, or one that fails on a value."""

    code = "expression_failed"
    retryable = False


def compile_expression(text: str) -> Function:
    """The function that an expression stands for.

    The value is called `value`; its fields are `value.name` or `value["name"]`, its elements
    `value[0]`. Raises ExpressionError here for a text that is not allowed, saying what and where;
    the function raises ExpressionError for a value that the expression cannot be worked out for.
    """
    tree = _parsed(text)
    body = _Checker(text).visit(tree.body)
    module = ast.parse(_SHELL)
    function: Any = module.body[0]
    function.body[0].body[0].value = body
    ast.fix_missing_locations(module)
    names = {**FUNCTIONS, **OPERATORS, **CONSTANTS, "__builtins__": {"Exception": Exception}}
    names["_failed"] = _Failed(text)
    try:
        exec(compile(module, f"<expression {text[:60]}>", "exec"), names)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"{_shown(text)}: {error}") from error
    return names["expression"]


def _parsed(text: str) -> ast.Expression:
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f"an expression of {len(text)} characters is too long; the most is {MAX_LENGTH}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # such as an escape that does not exist
            tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        said = error.msg if isinstance(error, SyntaxError) else str(error) or "nested too deeply"
        raise ExpressionError(f"{_shown(text)} is not an expression: {said}") from error
    _check_size(text, tree)
    return tree


def _check_size(text: str, tree: ast.AST) -> None:
    """Refuse a tree that is too large or too deep; walks it without recursion."""
    waiting, count = [(tree, 0)], 0
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if count > MAX_NODES or depth > MAX_DEPTH:
            raise ExpressionError(f"{_shown(text)} is too large; split it over several nodes")
        waiting += [(child, depth + 1) for child in ast.iter_child_nodes(node)]


class _Failed:
    """Makes the error for a value that an expression fails on; the value itself is not told."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __call__(self, error: Exception) -> ExpressionError:
        if isinstance(error, ExpressionError):
            return error
        what = f"no field {error}" if isinstance(error, KeyError) else str(error)
        return ExpressionError(f"{_shown(self._text)}: {what or type(error).__name__}")


class _Checker(ast.NodeTransformer):
    """Lets through what is listed, rewrites what must be watched, refuses everything else."""

    def __init__(self, text: str) -> None:
        self._text = text

    def _refuse(self, node: ast.AST, what: str) -> ExpressionError:
        at = getattr(node, "col_offset", 0) + 1
        return ExpressionError(f"{_shown(self._text)}, column {at}: {what}")

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Everything that has no method of its own below."""
        if not isinstance(node, _PLAIN):
            kind = type(node).__name__
            raise self._refuse(node, f"{kind} is not part of expressions")
        return super().generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """`value`, or a constant."""
        if node.id != "value" and node.id not in CONSTANTS:
            known = ", ".join(["value", *CONSTANTS])
            raise self._refuse(node, f"no name {node.id!r}; there are {known}")
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """Numbers, text, True, False, None."""
        if not isinstance(node.value, str | int | float | None):
            raise self._refuse(node, f"a {type(node.value).__name__} is not JSON")
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """`value.name` reads a field; it never looks an attribute up."""
        if node.attr.startswith("_"):
            raise self._refuse(node, f"a field's name does not start with '_': {node.attr!r}")
        return self._call("_field", node, node.value, ast.Constant(node.attr))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """One of the functions, by its name, with plain arguments."""
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name not in FUNCTIONS:
            known = ", ".join(FUNCTIONS)
            raise self._refuse(node, f"only these can be called: {known}")
        if node.keywords:
            raise self._refuse(node, f"{name}() takes no keywords")
        node.args = [self.visit(argument) for argument in node.args]
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """`*`, `**` and `%` are watched: they can make much of little."""
        watched = {ast.Mult: "_times", ast.Pow: "_power", ast.Mod: "_modulo"}.get(type(node.op))
        if watched is not None:
            return self._call(watched, node, node.left, node.right)
        return self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        """An object; its keys are plain text."""
        for key in node.keys:
            if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                raise self._refuse(node, "an object's keys are text in quotes")
        node.values = [self.visit(each) for each in node.values]
        return node

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.AST:
        """`f"{value}"`; a width could ask for gigabytes, so there is no format."""
        if node.format_spec is not None:
            raise self._refuse(node, "no format after ':'; use round() for decimals")
        node.value = self._call("str", node, node.value)
        node.conversion = -1
        return node

    def _call(self, name: str, node: ast.AST, *arguments: ast.expr) -> ast.Call:
        call = ast.Call(
            func=ast.Name(id=name, ctx=ast.Load()),
            args=[self.visit(each) for each in arguments],
            keywords=[],
        )
        return ast.copy_location(call, node)


def _shown(text: str) -> str:
    return f"the expression {text if len(text) <= 80 else text[:77] + '...'!r}"
