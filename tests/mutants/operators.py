"""Apply operators of cosmic-ray at random places; this script runs in an environment with cosmic-ray.

Reads `{"seed": ..., "modules": {path: how many mutants}}` from standard input and writes a list of mutants, each with
`file`, `name` (function, operator, line) and the mutated `source`. It changes no file.
"""

import ast
import json
import random
import re
import sys
from pathlib import Path
from typing import Any

# Replacements that raise TypeError on every tensor of floats, cost much memory, or rarely change a result.
USELESS = re.compile(
    r"Operator_(?!BitAnd|BitOr)\w+_(BitOr|BitAnd)$|Operator_\w+_(LShift|RShift|BitXor|Pow|Mod|FloorDiv)$|_Invert$"
    r"|ComparisonOperator_(?!Is)\w+_(Is|IsNot)$|ComparisonOperator_Is(Not)?_(?!Is)\w+$"
)
MESSAGES = {"warn", "print", "error", "add_argument"}  # calls that only print messages

Position = tuple[int, int]


def excluded_ranges(source: str) -> list[tuple[Position, Position]]:
    """Return the ranges that are not mutated: annotations, messages, decorator arguments, `if TYPE_CHECKING`."""
    nodes: list = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.arg() | ast.AnnAssign():
                nodes.append(node.annotation)
            case ast.FunctionDef() | ast.ClassDef():
                nodes += [getattr(node, "returns", None), *node.decorator_list]
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in MESSAGES:
                nodes.append(node)
            case ast.Raise() | ast.If(test=ast.Name(id="TYPE_CHECKING")):
                nodes.append(node)
    return [((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)) for node in nodes if node]


def enclosing_function(source: str, line: int) -> str:
    """Return the qualified name of the innermost function or class around a line, or "module"."""
    scopes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    around = [s.name for s in scopes if s.lineno - len(s.decorator_list) <= line <= (s.end_lineno or 0)]
    return ".".join(around) or "module"


def apply_operator(source: str, operator: Any, occurrence: int) -> str | None:
    """Return the mutated module; None if it is the same or does not compile, or the operator fails on the place."""
    from cosmic_ray.mutating import mutate_code

    try:
        mutated = mutate_code(source, operator, occurrence)
        return mutated if ast.dump(ast.parse(mutated)) != ast.dump(ast.parse(source)) else None
    except Exception:  # such as a SyntaxError: cosmic-ray takes the `**` of a call for a power
        return None


def sample_mutants(path: str, count: int, seed: int) -> list[dict[str, str]]:
    """Draw random places of a file and an operator for each; equal text and seed give equal mutants."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    source, draw = Path(path).read_text(encoding="utf-8"), random.Random(f"{seed}/{path}")
    nodes, excluded, found = list(ast_nodes(get_ast(source))), excluded_ranges(source), dict[Position, list]()
    for name in operator_names():
        if USELESS.search(name) or get_operator(name).arguments():
            continue
        operator = get_operator(name)()
        places = (place for node in nodes for place in operator.mutation_positions(node))
        for occurrence, (start, _) in enumerate(places):
            if not any(low <= start < high for low, high in excluded):
                found.setdefault(start, []).append((name.removeprefix("core/"), operator, occurrence))
    mutants: list[dict[str, str]] = []
    for line, column in draw.sample(sorted(found), len(found)):
        name, operator, occurrence = draw.choice(found[line, column])
        if mutated := apply_operator(source, operator, occurrence):
            where = f"{enclosing_function(source, line)}: {name}: line {line}"
            mutants.append({"file": path, "name": where, "source": mutated})
        if len(mutants) == count:
            break
    return mutants


if __name__ == "__main__":
    request = json.load(sys.stdin)
    made = (sample_mutants(path, count, request["seed"]) for path, count in request["modules"].items())
    json.dump([mutant for mutants in made for mutant in mutants], sys.stdout)
