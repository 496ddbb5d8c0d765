"""Imports point down: a file imports only from layers below its own."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "dltrain"
FLOORS = (
    ("dltrain.__main__",),
    ("dltrain.cli",),
    ("dltrain.commands",),
    ("dltrain.launchers",),
    ("dltrain.api",),
    ("dltrain.sweep",),
    ("dltrain.entry",),
    ("dltrain.training",),
    ("dltrain.composition",),
    ("dltrain.trainer", "dltrain.report"),
    ("dltrain.profiling", "dltrain.tuning"),
    ("dltrain.serving",),
    ("dltrain.inference",),
    ("dltrain.build",),
    ("dltrain.config",),
    ("dltrain.runs",),
    ("dltrain.callbacks",),
    ("dltrain.lanes",),
    ("dltrain.engine",),
    ("dltrain.devices",),
    (
        "dltrain.data",
        "dltrain.models",
        "dltrain.losses",
        "dltrain.metrics",
        "dltrain.optimizers",
        "dltrain.schedules",
        "dltrain.plots",
    ),
    ("dltrain.tasks",),
    ("dltrain.ops", "dltrain.initializers", "dltrain.activations"),
    ("dltrain.tree",),
    (
        "dltrain.types",
        "dltrain.durations",
        "dltrain.ranges",
        "dltrain.cache",
        "dltrain.machine",
        "dltrain.places",
        "dltrain.startup",
    ),
    ("dltrain.errors", "dltrain.kinds"),
)
"""From the roof down; modules on one floor may import each other, within one package only."""

FILES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem != "__init__")


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> tuple[int, str]:
    """Return the layer and the package of a module: the longest name that matches."""
    rooms = [(len(room), floor, room) for floor, rooms in enumerate(FLOORS) for room in rooms]
    fits = [(n, floor, room) for n, floor, room in rooms if module == room or module.startswith(room + ".")]
    assert fits, f"{module} is on no floor"
    _, floor, room = max(fits)
    return floor, room


def imports(path: Path) -> list[tuple[str, int]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                is_module = (PACKAGE.parent / Path(*module.split("."))).with_suffix(".py").exists()
                found.append((module if is_module else node.module or "", node.lineno))
        elif isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
    return [(module, line) for module, line in found if module.startswith("dltrain.")]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path: Path):
    floor, room = room_of(name_of(path))
    for module, line in imports(path):
        below, other = room_of(module)
        assert below > floor or other == room, f"{path}:{line} imports {module}, which is not below it"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_only_composition_imports_hydra_and_nobody_dodges_circles(path: Path):
    text = path.read_text(encoding="utf-8")
    assert "TYPE_CHECKING" not in text
    if "composition" not in path.parts:
        tree = ast.walk(ast.parse(text))
        named = [a.name for n in tree if isinstance(n, ast.Import) for a in n.names]
        named += [n.module or "" for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ImportFrom)]
        assert not [n for n in named if n.split(".")[0] == "hydra"]
