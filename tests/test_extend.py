"""Each example of docs/how-to/extend.md, applied to a copy of the package, does what it says, in as
many files as the page's table says."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import counterpoise

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "extend.md"
BLOCK = re.compile(
    r'```py title="(?P<file>[\w/]+\.py)(?:, (?P<place>[^"]+))?"\n(?P<code>.*?)```', re.S
)
USED = """
import json, sys
import numpy as np
import torch
from counterpoise.balance.policies import build_policy
from counterpoise.config import DiscriminatorConfig, GeneratorConfig, RunConfig
from counterpoise.diagnosis.diagnose import diagnose
from counterpoise.game.objective import GameObjective
from counterpoise.logs.read import read_log
from counterpoise.models.discriminator import build_discriminator
from counterpoise.models.generator import build_generator
from counterpoise.records import Action
from counterpoise.trace import TraceBuilder
from helpers import SIGNALS
from test_turn import Play, moved

used = {}
import dataclasses
signals = dataclasses.replace(SIGNALS, d_accuracy_real=1.0, d_accuracy_fake=1.0)
used["a policy"] = build_policy("halve", {"most": 0.9}).observe(signals).d_learning_rate_scale

builder = TraceBuilder()
for step in range(20):
    builder.add(step, {"d_loss": -1.0, "g_loss": 1.0})
used["a finding"] = "d-loss-negative" in diagnose(builder.build()).ids()

with open("my.log", "w") as file:
    for step in range(0, 2000, 100):
        print(f"it {step} | critic: 0.5{step % 7} | gen: 1.3", file=file)
from pathlib import Path
(trace,) = read_log(Path("my.log"))
used["a log format"] = [trace.format, float(trace.get("d_loss")[0])]

loss = RunConfig.model_validate({"loss": {"adversarial": {"form": "exp"}}}).loss
objective = GameObjective.named(loss.adversarial.form, probabilities=False)
zero = torch.zeros(2, 1)
used["an objective"] = float(sum(objective.form.d_loss(zero, zero)))

g = build_generator(GeneratorConfig(name="subpixel"))
used["a generator"] = list(g(torch.zeros(1, 3, 4, 5)).shape)
d = build_discriminator(DiscriminatorConfig(name="mean"), 32)
used["a discriminator"] = list(d(torch.zeros(2, 3, 8, 8)).shape)

play, plain = Play(Action(drift_weight=2.0)), Play(Action())
for each in (play, plain):
    each.turn()
(row,) = play.game.records()
used["an actuator"] = row.discriminators[""].penalty > 0
print(json.dumps(used))
"""
EXPECTED = {
    "a policy": 0.5,
    "a finding": True,
    "a log format": ["my-trainer", 0.5],
    "an objective": 2.0,
    "a generator": [1, 3, 16, 20],
    "a discriminator": [2, 1],
    "an actuator": True,
}


def examples():
    """The blocks of each section, by its heading."""
    sections = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    pairs = zip(sections[1::2], sections[2::2], strict=True)
    return {heading[0].lower() + heading[1:]: list(BLOCK.finditer(text)) for heading, text in pairs}


def apply(package: Path, block: re.Match) -> None:
    """Make the change of one block."""
    path, place, code = package / block["file"], block["place"], block["code"]
    if place is None:
        assert not path.exists(), path
        path.write_text(code, encoding="utf-8")
        return
    text = path.read_text(encoding="utf-8")
    kind, name = place.rsplit(" ", 1)
    (node,) = (node for node in ast.parse(text).body if name in names_of(node))
    lines = text.splitlines(keepends=True)
    if kind == "above":
        lines.insert(node.lineno - 1, f"{code}\n\n")
    elif kind == "a row of":
        end = node.value
        row = lines[end.end_lineno - 1]
        before, after = row[: end.end_col_offset - 1], row[end.end_col_offset - 1 :]
        comma = "" if "".join([*lines[: end.end_lineno - 1], before]).rstrip()[-1] in ",(" else ","
        lines[end.end_lineno - 1] = f"{before}{comma}\n{code}{after}"
    elif kind == "the end of":
        lines.insert(node.end_lineno, textwrap.indent(code, "    "))
    else:
        assert kind == "a field of"
        last = [part for part in node.body if isinstance(part, ast.AnnAssign)][-1]
        lines.insert(last.end_lineno, textwrap.indent(code, "    "))
    path.write_text("".join(lines), encoding="utf-8")


def names_of(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return [node.name] if isinstance(node, ast.ClassDef | ast.FunctionDef) else []


@pytest.fixture(scope="module")
def used(tmp_path_factory):
    """What comes of using each example, all of them applied to one copy."""
    folder = tmp_path_factory.mktemp("extended")
    package = folder / "counterpoise"
    own = Path(counterpoise.__file__).parent
    shutil.copytree(own, package)
    for blocks in examples().values():
        for block in blocks:
            apply(package, block)
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", USED],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), here])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("part", EXPECTED)
def test_the_example_works_in_as_many_files_as_the_page_says(used, part):
    assert used[part] == EXPECTED[part]
    files = {block["file"] for block in examples()[part]}
    (promised,) = re.findall(rf"^\| \[{part}\]\(.*?\) \| (\d) \|", PAGE.read_text(), re.MULTILINE)
    assert len(files) == int(promised) <= 3
