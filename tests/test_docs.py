"""The documentation is so: its commands and snippets run, and print what it says."""

import difflib
import re
import shlex
import subprocess
import sys

import pytest
import torch

import counterpoise as package
from docs_helpers import (
    PAGES,
    PROGRAM,
    ROOT,
    build_workspace,
    commands,
    parse,
    shown_files,
    snippets,
    unknown_options,
    verb_of,
)
from loop_helpers import small_networks
from training_helpers import run as run_training
from training_helpers import tiny

# How the commands of each verb are checked. `run`: for real, in a folder with small pictures, runs
# and logs under the names that the pages use. `dry-run` and `once`: for real, with that option.
# `parsed`: read by the command line's own parser, so that no page can name an option that does not
# exist; they are run by the tests of the verb.
CHECKED = {
    **dict.fromkeys(("train", "study run"), "dry-run"),
    **dict.fromkeys(("presets", "upscale", "evaluate", "diagnose", "report", "best"), "run"),
    **dict.fromkeys(("resume", "import-weights", "export", "study report"), "parsed"),
    "watch": "once",
}
TINY_CHECKPOINT = "runs/mine/checkpoints/step-00000003.safetensors"
# What pages write for something of the reader's.
PLACEHOLDERS = {
    "LOG": "train.log",
    "RUN": "runs/mine",
    "NAME": "demo",
    "FILE": "train.log",
    "IN": "photos",
    "OUT": "larger-still",
    "runs/mine/checkpoints/step-00004000.safetensors": TINY_CHECKPOINT,
    "...": "",
}
WIDTH = 80


def first_by_words(found):
    """One command of each wording."""
    return list({command.words: command for command in reversed(found)}.values())[::-1]


ALL = [command for page in PAGES for command in commands(page)]
COMMANDS = [c for c in ALL if c.words[0] == PROGRAM]
OTHERS = [c.words for c in ALL if c.words[0] != PROGRAM]
TO_PARSE = first_by_words([c for c in COMMANDS if not c.in_prose])
# What is added to a command that is run for real. What serves a page ends with its reader only.
ADDED = {"run": (), "dry-run": ("--dry-run",), "once": ("--once",)}
TO_RUN = [c for c in TO_PARSE if CHECKED.get(verb_of(c.words)) in ADDED and "--web" not in c.words]
WITH_OUTPUT = [c for c in COMMANDS if c.output]
SNIPPETS = [s for page in PAGES for s in snippets(page)]


def filled_in(words):
    chosen = [PLACEHOLDERS.get(word, word) for word in words]
    return tuple(word for word in chosen if word)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")

    def train_tiny(path, data):
        run_training(tiny("train.pretrain_steps=1", "train.steps=2", data=data), path)

    build_workspace(folder, train_tiny)
    return folder


@pytest.fixture
def program(workspace, tmp_path, monkeypatch, counterpoise):
    """Run a page's command among the files of the workspace: (exit code, output, errors)."""

    def run(command, more=(), width=200):
        for path in workspace.iterdir():
            (tmp_path / path.name).symlink_to(path)
        for name, text in shown_files(command.page).items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        return counterpoise(*filled_in(command.words)[1:], *more, width=width)

    return run


def test_the_pages_have_what_is_tested_here():
    names = {c.page.name for c in COMMANDS}
    assert {"README.md", "index.md", "tutorial.md", "train.md", "diagnose.md"} <= names
    assert len(TO_RUN) > 20
    assert len(SNIPPETS) > 8
    assert len(WITH_OUTPUT) >= 3


def test_every_verb_of_the_documentation_says_how_it_is_checked():
    assert {verb_of(c.words) for c in TO_PARSE} <= set(CHECKED)
    assert set(CHECKED.values()) == {*ADDED, "parsed"}


def named(command):
    return shlex.join(command.words)


@pytest.mark.parametrize("command", TO_PARSE, ids=named)
def test_commands_are_as_the_program_reads_them(command):
    parse(filled_in(command.words))


def test_commands_in_sentences_name_verbs_and_options_that_exist():
    for command in COMMANDS:
        if command.in_prose and command.words[1].islower():
            assert verb_of(command.words), command
            assert not unknown_options(command.words), command


@pytest.mark.parametrize("command", TO_RUN, ids=named)
def test_commands_run(program, command):
    verb, more = verb_of(command.words), ()
    if "-" in command.words:
        pytest.skip("reads a pipe: tests/test_diagnosis_command.py has one")
    more += tuple(option for option in ADDED[CHECKED[verb]] if option not in command.words)
    if verb == "train":
        # It measures the features of the photographs.
        more += ("--set", "features.extractor=embedded", "--set", "features.normalisation=none")
    code, out, err = program(command, more)
    assert code in ((0, 1, 3) if verb == "diagnose" else (0,)), err
    assert out


def matches(expected: str, printed: str) -> bool:
    """Whether a page shows what was printed; a line `...` stands for any lines."""
    parts = [part.strip("\n") for part in re.split(r"^\.\.\.$", expected, flags=re.MULTILINE)]
    pattern = r"\n(?:.*\n)*?".join(map(re.escape, parts))
    return re.fullmatch(rf"\n*{pattern}\n*", printed) is not None


def without_trailing_spaces(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.split("\n"))


@pytest.mark.parametrize("command", WITH_OUTPUT, ids=lambda c: f"{c.page.stem}: {c.text}")
def test_outputs_are_what_is_printed(program, command):
    _, out, _ = program(command, width=WIDTH)
    printed = without_trailing_spaces(out)
    shown = difflib.ndiff(command.output.split("\n"), printed.split("\n"))
    assert matches(command.output, printed), "\n".join(shown)


def test_other_commands_name_what_is_there():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in OTHERS:
        if words[0] == "make":
            assert set(words[1:]) <= targets, words
            continue
        script = ROOT / words[1]
        assert script.is_file(), words
        known = "".join(path.read_text() for path in script.parent.glob("*.py"))
        for option in (word for word in words if word.startswith("--")):
            assert f'"{option}"' in known, words


def prelude() -> dict:
    """What the pages take for granted: a reader's networks, optimizers and batches."""
    generator, discriminator = small_networks()
    return {
        "cp": package,
        "torch": torch,
        **dict.fromkeys(("generator", "g"), generator),
        **dict.fromkeys(("discriminator", "d"), discriminator),
        "g_optimizer": torch.optim.Adam(generator.parameters(), 1e-3),
        "d_optimizer": torch.optim.Adam(discriminator.parameters(), 1e-3),
        "criterion": torch.nn.BCEWithLogitsLoss(),
        "batches": [torch.rand(8, 1, 8, 8) * 2 - 1 for _ in range(8)],
        **dict.fromkeys(("epoch", "epochs", "step", "steps"), 1),
        **dict.fromkeys(("loss_g", "loss_d", "d_x", "d_g_z1", "d_g_z2"), 0.5),
    }


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda s: s.id)
def test_snippets_run(workspace, monkeypatch, tmp_path, snippet):
    code = compile(snippet.code, f"{snippet.page.name}, line {snippet.line}", "exec")
    if not snippet.is_run:
        return
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.log").symlink_to(workspace / "train.log")
    names = prelude()
    if "    ...\n" in snippet.code:
        # A loop whose body is left to the reader: nothing to go through.
        names["batches"] = []
    exec(code, names)  # noqa: S102


@pytest.mark.slow
def test_the_tutorial_shows_what_the_example_prints():
    """Numbers may differ on another machine; what is found in the loop may not."""
    (command,) = (
        c for c in commands(ROOT / "docs" / "tutorial.md") if c.words[0] == "python" and c.output
    )
    done = subprocess.run(
        [sys.executable, *command.words[1:]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for line in command.output.split("\n"):
        if line.strip(".") and not line.startswith(("Step:", "step ")):
            assert line in done.stdout + done.stderr
