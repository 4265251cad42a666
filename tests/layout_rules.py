"""The house rules as functions of source text, so that faults can be planted in them."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from functools import cache
from pathlib import PurePosixPath

import networkx as nx

Sources = dict[str, str]  # path from the root -> text
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def parsed(text: str) -> ast.Module:
    """The syntax tree of a source; every rule looks at the same one."""
    return ast.parse(text)


def module_of(file: str) -> str:
    """`nvg/store/store.py` -> nvg.store.store, `nvg/store/__init__.py` -> nvg.store."""
    parts = PurePosixPath(file).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def package_of(file: str) -> str:
    """The package a file lies in: its folder."""
    return ".".join(PurePosixPath(file).parent.parts)


@cache
def import_nodes(tree: ast.AST) -> list[ast.AST]:
    """Every import, those inside functions included; found once for all rules."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def imports_of(tree: ast.AST, modules: set[str]) -> Iterator[tuple[int, str]]:
    """(line, module) of every import of one of `modules`, those inside functions included."""
    for node in import_nodes(tree):
        if isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            wanted = [name if name in modules else node.module for name in inner]
        else:
            continue
        yield from ((node.lineno, name) for name in dict.fromkeys(wanted) if name in modules)


def import_graph(sources: Sources) -> nx.DiGraph[str]:
    """File -> the files it imports; an edge knows the line."""
    files = {module_of(file): file for file in sources}
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(sources)
    for file, text in sources.items():
        for line, module in imports_of(parsed(text), set(files)):
            graph.add_edge(file, files[module], line=line)
    return graph


def circles(graph: nx.DiGraph[str]) -> list[str]:
    """The way of every circle of imports, file by file with the line of each import."""
    found = []
    for circle in nx.simple_cycles(graph):
        first = circle.index(min(circle))
        way = [*circle[first:], *circle[:first], circle[first]]
        steps = [
            f"{one}:{graph.edges[one, other]['line']}" for one, other in itertools.pairwise(way)
        ]
        found.append(" -> ".join([*steps, way[-1]]))
    return sorted(found)


def arrows_back(graph: nx.DiGraph[str], allowed: dict[str, set[str]]) -> list[str]:
    """Imports from a package that the importing one may not use.

    The face of the library, nvg/__init__.py, hands on names of all packages below it.
    """
    found = []
    for one, other, line in graph.edges(data="line"):
        if one == "nvg/__init__.py" and other.startswith("nvg/"):
            continue
        mine, theirs = package_of(one), package_of(other)
        if mine != theirs and theirs not in allowed.get(mine, set()):
            found.append(f"{one}:{line} imports {other}: {mine} may not import {theirs}")
    return sorted(found)


def disorder(allowed: dict[str, set[str]]) -> list[str]:
    """Packages that are allowed one which does not stand before them in the list."""
    order = list(allowed)
    return [
        f"{package} is allowed {other}, which does not stand before it"
        for package, others in allowed.items()
        for other in others
        if other not in order or order.index(other) >= order.index(package)
    ]


def legend_of(text: str) -> dict[str, str]:
    """Letter -> meaning, as the docstring of a module states them after `Legend:`."""
    said = re.search(r"Legend:(.*?)\.(?:\s*$|\s*\n)", ast.get_docstring(parsed(text)) or "", re.S)
    if not said:
        return {}
    entries = (" ".join(entry.split()) for entry in said[1].split(","))
    return {letter: meaning for letter, _, meaning in (entry.partition(" ") for entry in entries)}


def legend_clashes(sources: Sources, legend: dict[str, str]) -> list[str]:
    """Letters that a file uses for something else than the project's legend says."""
    return [
        f"{file}: {letter} is {meaning!r} there, {legend.get(letter)!r} in the project's legend"
        for file, text in sources.items()
        for letter, meaning in legend_of(text).items()
        if legend.get(letter) != meaning
    ]


def project_legend(document: str) -> dict[str, str]:
    """The table of CONTRIBUTING: rows `| B | image of a batch |`, perhaps several a line."""
    rows = re.findall(r"^\| `([A-Za-z])` \| ([^|]+?) \|$", document, re.M)
    letters = [letter for letter, _ in rows]
    twice = {letter for letter in letters if letters.count(letter) > 1}
    if twice:
        raise ValueError(f"the legend names {sorted(twice)} twice")
    return dict(rows)


def outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that runs when the module is imported: all but the bodies of functions."""
    for child in ast.iter_child_nodes(tree):
        if not isinstance(child, Function | ast.Lambda):
            yield child
            yield from outside_functions(child)


def imported_packages(nodes: Iterator[ast.AST]) -> Iterator[tuple[int, str]]:
    """(line, top-level package) of every import among the nodes."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.partition(".")[0]


def long_ones(sources: Sources, file_lines: int, function_lines: int) -> list[str]:
    """Files and functions over the limits."""
    found = []
    for file, text in sources.items():
        lines = len(text.splitlines())
        if lines > file_lines:
            found.append(f"{file}: {lines} lines, at most {file_lines}")
        for node in ast.walk(parsed(text)):
            if isinstance(node, Function):
                size = (node.end_lineno or 0) - node.lineno + 1
                if size > function_lines:
                    found.append(f"{file}: {node.name} has {size} lines, at most {function_lines}")
    return found


def undocumented(sources: Sources) -> list[str]:
    """Public functions and classes without a docstring."""
    return [
        f"{file}: {node.name}"
        for file, text in sources.items()
        for node in parsed(text).body
        if isinstance(node, Function | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]


def mirror_of(file: str) -> str:
    """The test file of a source: `nvg/store/lock.py` -> tests/nvg/store/test_lock.py."""
    path = PurePosixPath(file)
    return str("tests" / path.with_name(f"test_{path.name}"))
