"""The layers of the design: imports go one way."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOTS = [ROOT / name / "tokenflation" for name in ("sdk", "analysis", "exporters")]

# From the bottom up; modules of one row may import each other only inside their own package.
LAYERS = (
    ("children",),
    ("startup",),
    ("sdk.records", "sdk.errors", "sdk.clock", "sdk.interrupts"),
    ("sdk.saying",),
    ("sdk.wire",),
    ("sdk.exchange",),
    ("sdk.scoping", "sdk.hooks", "sdk.tokens"),
    ("sdk.lineage", "sdk.carrying", "sdk.tracing"),
    ("sdk.store",),
    ("sdk.calls",),
    ("sdk.recording",),
    ("sdk.importers.files",),
    ("sdk.importers.rows", "sdk.importers.spans"),
    ("sdk.importers.agents", "sdk.importers.tracers", "sdk.importers.workloads"),
    ("sdk.instrument", "sdk.importers"),
    ("sdk",),
    ("beginning",),
    ("analysis.columns", "analysis.plain"),
    ("analysis.frames", "analysis.refusing"),
    ("analysis.streams",),
    ("analysis.sources", "analysis.reduce", "analysis.predictability", "analysis.statistics"),
    ("analysis.profiles", "analysis.comparison", "analysis.context", "analysis.structure"),
    ("analysis.findings", "analysis.planning"),
    ("analysis.fleet",),
    ("analysis.history", "analysis.metrics", "analysis.whatif"),
    ("analysis",),
    ("exporters",),
    ("demo",),
    ("cli.views",),
    ("cli.options",),
    ("cli.work",),
    ("cli",),
)


def _modules() -> dict[str, Path]:
    found = {}
    for root in ROOTS:
        for path in root.rglob("*.py"):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _layer(module: str) -> int:
    best = max(
        (len(name), row) for row, names in enumerate(LAYERS) for name in names if f"{module}.".startswith(f"{name}.")
    )
    return best[1]


def _imports(path: Path, modules: dict[str, Path]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name.removeprefix("tokenflation.") for name in found if name.startswith("tokenflation.")}
    return {name if name in modules else name.rpartition(".")[0] for name in ours}


def test_imports_point_one_way_down_the_layers() -> None:
    modules = _modules()
    wrong = [
        f"{module} imports {target}"
        for module, path in modules.items()
        for target in _imports(path, modules)
        if target != module
        and (_layer(target) > _layer(module) or (_layer(target) == _layer(module) and _apart(target, module)))
    ]
    assert wrong == []


def _apart(one: str, other: str) -> bool:
    """Return whether two modules of one layer belong to different rooms of it."""
    rooms = [name for names in LAYERS for name in names]
    return _room(one, rooms) != _room(other, rooms)


def _room(module: str, rooms: list[str]) -> str:
    return max((name for name in rooms if f"{module}.".startswith(f"{name}.")), key=len)


def test_no_root_has_a_top_level_package_file() -> None:
    assert [str(root) for root in ROOTS if (root / "__init__.py").exists()] == []


@pytest.mark.parametrize("module", ["sdk.wire", "sdk.lineage", "sdk.tokens.prefix", "analysis.comparison.inflation"])
def test_every_module_named_in_the_design_exists(module: str) -> None:
    assert module in _modules()
