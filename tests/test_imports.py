"""Imports go strictly down the layers, and the light layers stay light."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import counterpoise

PACKAGE = Path(counterpoise.__file__).parent

# A module imports only from lower layers, or from its own package; the table's one home is a file
# that the architecture page is drawn from.
TABLE = tomllib.loads((PACKAGE.parents[1] / "docs" / "layers.toml").read_text(encoding="utf-8"))
LAYERS = {unit: level for level, row in enumerate(TABLE["layers"]) for unit in row["units"]}
# Layers whose units may import each other.
SIBLINGS = {level for level, row in enumerate(TABLE["layers"]) if row.get("siblings")}
# Pure Python: usable where torch is not, on recorded signals of any program.
WITHOUT_TORCH = (
    *("config", "objectives", "records", "run_folder", "registry", "errors", "trace"),
    *("balance.policies", "diagnosis.diagnose", "logs.read"),
)

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
    assert len(LAYERS) == sum(len(row["units"]) for row in TABLE["layers"])


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down(path):
    unit = unit_of(path)
    for imported in imported_units(path) - {unit}:
        below = LAYERS[imported] < LAYERS[unit]
        siblings = LAYERS[imported] == LAYERS[unit] and LAYERS[unit] in SIBLINGS
        assert below or siblings, f"{unit} imports {imported}"


def test_light_modules_do_not_import_torch():
    imports = "; ".join(f"import counterpoise.{name}" for name in WITHOUT_TORCH)
    code = f"import sys; {imports}; assert 'torch' not in sys.modules, 'torch was imported'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_imports_next_to_nothing():
    code = (
        "import sys; from counterpoise.cli import Parser; Parser('train').format_help(); "
        "assert not {'torch', 'numpy', 'rich', 'pydantic'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_diagnosing_imports_what_it_needs():
    """It is to answer at once: each of these takes a tenth of a second or more."""
    log = PACKAGE.parents[1] / "tests" / "data" / "seed" / "bce_epoch3.log"
    code = (
        f"import sys; import counterpoise as cp; cp.diagnose({str(log)!r}); "
        "from counterpoise.commands import diagnosis; "
        "slow = {'torch', 'rich', 'pydantic', 'yaml', 'filelock', 'jinja2', 'importlib.metadata'}; "
        "assert not slow & set(sys.modules), slow & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
