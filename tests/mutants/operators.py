"""The operators of cosmic-ray, applied to places in modules; runs in an environment that holds cosmic-ray.

Reads `{"seed": ..., "modules": {path: how many mutants}}` from standard input and writes a list of mutants, each with
`file`, `name` (function, operator, line) and the mutated `source`. It changes no file.
"""

import ast
import json
import random
import re
import sys
from pathlib import Path

# Replacements that raise TypeError on every tensor of floats, cost much memory, or rarely change a result.
USELESS = re.compile(
    r"Operator_(?!BitAnd|BitOr)\w+_(BitOr|BitAnd)$|Operator_\w+_(LShift|RShift|BitXor|Pow|Mod|FloorDiv)$"
    r"|ComparisonOperator_(?!Is)\w+_(Is|IsNot)$|ComparisonOperator_Is(Not)?_(?!Is)\w+$|_Invert$"
)
MESSAGES = {"warn", "print", "error", "add_argument"}  # calls that only talk to the user

Position = tuple[int, int]


def excluded_ranges(source: str) -> list[tuple[Position, Position]]:
    """Return the places to leave alone: annotations, messages, arguments of decorators, `if TYPE_CHECKING`."""
    nodes: list[ast.AST | None] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.arg() | ast.AnnAssign():
                nodes.append(node.annotation)
            case ast.FunctionDef() | ast.ClassDef():
                nodes += [getattr(node, "returns", None), *node.decorator_list]
            case ast.Raise():
                nodes.append(node)
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in MESSAGES:
                nodes.append(node)
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Compare(left=ast.Name(id="__name__"))):
                nodes.append(node)
    return [((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)) for node in nodes if node]


def enclosing_function(source: str, line: int) -> str:
    """Return the qualified name of the innermost function or class around a line; "" at the level of the module."""
    names, body = [], ast.parse(source).body
    while body:
        scopes = [node for node in body if _first_line(node) <= line <= (node.end_lineno or 0)]
        names += [node.name for node in scopes if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        body = [child for node in scopes for child in getattr(node, "body", []) + getattr(node, "orelse", [])]
    return ".".join(names)


def _first_line(node: ast.stmt) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])


def find_mutations(source: str) -> dict[Position, list[tuple[str, int]]]:
    """Return the operators that apply at each place, with the number of the occurrence in the file."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    excluded = excluded_ranges(source)
    found: dict[Position, list[tuple[str, int]]] = {}
    for name in operator_names():
        operator = get_operator(name)
        if USELESS.search(name) or operator.arguments():
            continue
        places = (place for node in ast_nodes(get_ast(source)) for place in operator().mutation_positions(node))
        for occurrence, (start, _) in enumerate(places):
            if not any(low <= start < high for low, high in excluded):
                found.setdefault(start, []).append((name, occurrence))
    return found


def sample_mutants(path: str, count: int, seed: int) -> list[dict]:
    """Draw places of a file at random, then an operator for each; equal for equal text and seed."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    source, draw = Path(path).read_text(encoding="utf-8"), random.Random(f"{seed}/{path}")
    found = find_mutations(source)
    mutants: list[dict] = []
    for line, column in draw.sample(sorted(found), len(found)):
        name, occurrence = draw.choice(found[line, column])
        mutated = mutate_code(source, get_operator(name)(), occurrence)
        if ast.dump(ast.parse(mutated)) == ast.dump(ast.parse(source)):
            continue
        where, operator = enclosing_function(source, line) or "module", name.removeprefix("core/")
        mutants.append({"file": path, "name": f"{where}: {operator}: line {line}", "source": mutated})
        if len(mutants) == count:
            break
    return mutants


if __name__ == "__main__":
    request = json.load(sys.stdin)
    json.dump(
        [m for path, n in request["modules"].items() for m in sample_mutants(path, n, request["seed"])], sys.stdout
    )
