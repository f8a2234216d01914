"""Imports go strictly down the layers, and the light layers stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import counterpoise

PACKAGE = Path(counterpoise.__file__).parent

# Lower number, lower layer. A module imports only from lower layers, or from its own package.
LAYERS = {
    "errors": 0,
    "registry": 0,
    "config": 0,
    "records": 0,
    "run_folder": 0,
    "trace": 0,
    "seeding": 0,
    "presets": 0,
    "data": 1,
    "models": 1,
    "losses": 1,
    "metrics": 1,
    "balance": 1,
    "diagnosis": 1,
    "logs": 1,
    "sensors": 1,
    "actuators": 1,
    "evaluate": 2,
    "picture_io": 2,
    "png16": 2,
    "upscale": 2,
    "pages": 2,
    "training": 3,
    "anyloop": 3,
    "study": 4,
    "commands": 5,
    "cli_study": 6,
    "cli": 7,
    "__main__": 8,
    "__init__": 8,
}
# Pure Python: usable where torch is not, on recorded signals of any program.
WITHOUT_TORCH = [
    "config",
    "records",
    "run_folder",
    "registry",
    "errors",
    "trace",
    "balance/policies",
    "diagnosis/diagnose",
    "logs/read",
]

MODULES = sorted(PACKAGE.rglob("*.py"))


def unit_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_units(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names if name.startswith("counterpoise")]
    return {part[1] for part in parts if len(part) > 1}


def test_every_module_has_a_layer():
    assert {unit_of(path) for path in MODULES} <= set(LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    unit = unit_of(path)
    for imported in imported_units(path) - {unit}:
        below = LAYERS[imported] < LAYERS[unit]
        same_light_layer = LAYERS[imported] == LAYERS[unit] and LAYERS[unit] in (0, 2)
        assert below or same_light_layer, f"{unit} imports {imported}"


def test_light_modules_do_not_import_torch():
    imports = "; ".join(f"import counterpoise.{name.replace('/', '.')}" for name in WITHOUT_TORCH)
    code = f"import sys; {imports}; assert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_does_not_import_torch():
    code = (
        "import sys; from typer.testing import CliRunner; from counterpoise.cli import app; "
        "assert CliRunner().invoke(app, ['train', '--help']).exit_code == 0; "
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
