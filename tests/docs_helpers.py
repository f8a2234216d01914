"""Commands and snippets as the documentation prints them, and a place where they can be run."""

import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from counterpoise.cli import VERBS, Parser, split_verb
from helpers import smooth_pixels

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
# Written by hand, but for blocks; the other pages are made from what is tested elsewhere.
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((DOCS / "how-to").glob("*.md"))]
FENCE = re.compile(r"^( *)```\s*(\w*)[^\n]*\n(.*?)^\1```", re.DOTALL | re.MULTILINE)
COMPILE_ONLY = "<!-- test: compile -->"
INLINE = re.compile(r"`(counterpoise [a-z][^`]*)`")
TORCHRUN = re.compile(r"^torchrun (?:--[\w-]+ \S+ )*-m ")
PROGRAM = "counterpoise"


@dataclass(frozen=True)
class Snippet:
    """A block of Python in a page."""

    page: Path
    line: int
    code: str
    is_run: bool

    @property
    def id(self):
        return f"{self.page.stem}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command line in a page; `output` is what the page says that it prints, where it does."""

    page: Path
    words: tuple[str, ...]
    output: str | None = None
    # In a sentence, where what is not spoken of is left out.
    in_prose: bool = False

    @property
    def text(self):
        return shlex.join(self.words)


def blocks(text: str) -> Iterator[tuple[str, str, int]]:
    """Language, text and line of every fenced block, and of every indented one (language "")."""
    fenced = list(FENCE.finditer(text))
    for match in fenced:
        yield match[2], match[3], text[: match.start()].count("\n") + 2
    rest = FENCE.sub(lambda m: "\n" * m[0].count("\n"), text)
    lines = rest.split("\n")
    start = None
    for number, line in enumerate([*lines, "end"]):
        inside = line.startswith("    ") or (start is not None and not line.strip())
        if inside and start is None and not lines[number - 1].strip():
            start = number
        elif not inside and start is not None:
            body = "\n".join(part.removeprefix("    ") for part in lines[start:number])
            yield "", body.rstrip() + "\n", start + 1
            start = None


def snippets(page: Path) -> list[Snippet]:
    """The Python of a page; what stands after `COMPILE_ONLY` is not run."""
    text = page.read_text(encoding="utf-8")
    found = []
    for language, body, line in blocks(text):
        if language == "python":
            before = text.split("\n")[line - 3] if line > 2 else ""
            found.append(Snippet(page, line, body, before.strip() != COMPILE_ONLY))
    return found


def commands(page: Path) -> list[Command]:
    """The commands of a page: after `$ ` with output, at the beginning of a line, in prose."""
    text = page.read_text(encoding="utf-8")
    found = []
    for language, body, _ in blocks(text):
        if language in ("python", "py", "yaml", "diff", "text"):
            continue
        prompted = re.split(r"^\$ ", body, flags=re.MULTILINE)
        for part in prompted[1:]:
            line, _, output = part.partition("\n")
            found.append(Command(page, _words(line), output))
        lines = prompted[0].replace("\\\n", " ").split("\n")
        found += [Command(page, _words(line)) for line in lines if _is_command(line)]
    prose = FENCE.sub("", text)
    found += [Command(page, _words(m[1]), in_prose=True) for m in INLINE.finditer(prose)]
    return [command for command in found if command.words]


def _is_command(line: str) -> bool:
    return TORCHRUN.sub("", line).startswith((f"{PROGRAM} ", "python ", "make "))


def _words(line: str) -> tuple[str, ...]:
    line = TORCHRUN.sub("", line.rpartition("| ")[2])
    return tuple(shlex.split(line, comments=True))


def verb_of(words: tuple[str, ...]) -> str:
    """The verb that a command names, `study run` for a verb of two words; or the
    first of the two; "" for none."""
    name = split_verb(words[1:])[0]
    return name if any(verb.startswith(name) for verb in VERBS) else ""


def unknown_options(words: tuple[str, ...]) -> list[str]:
    """The options of a command that its verb does not have."""
    verb = verb_of(words)
    known = Parser(verb)._option_string_actions if verb in VERBS else ()
    return [word for word in words if re.match(r"--?[a-z]", word) and word not in known]


def parse(words: tuple[str, ...]) -> None:
    """Read a command line as the program would, without doing anything; `UserError` for a verb, an
    option or a value that does not exist."""
    name, rest = split_verb(words[1:])
    VERBS[name]
    Parser(name).parse_intermixed_args(rest)


# A file that a page shows under its name.
SHOWN_FILE = re.compile(r"`([\w.-]+\.yaml)`[^\n]*\n\n```yaml\n(.*?)```", re.DOTALL)


def shown_files(page: Path) -> dict[str, str]:
    """The files that a page shows, by name."""
    return dict(SHOWN_FILE.findall(page.read_text(encoding="utf-8")))


def build_workspace(folder: Path, train_tiny: Callable[[Path, Path], None]) -> None:
    """Pictures, logs, runs and weights under the names that the pages give them."""
    # The presets' crops are 128 pixels; what is only upscaled or scored may be smaller.
    trained_on = dict.fromkeys(("photos", "BSDS400"), 128)
    for name, side in (
        trained_on | dict.fromkeys(("Set5/HR", "Set14/HR", "BSD100/HR"), 64)
    ).items():
        (folder / name).mkdir(parents=True)
        for seed in range(2):
            Image.fromarray(smooth_pixels(seed, side, side)).save(folder / name / f"{seed}.png")
    shutil.copytree(folder / "Set5" / "HR", folder / "theirs")
    Image.fromarray(smooth_pixels(9, 40, 48)).save(folder / "photo.jpg")
    for name, log in (("train", "bce_epoch3"), ("before", "bce_epoch1")):
        shutil.copy(ROOT / "tests" / "data" / "seed" / f"{log}.log", folder / f"{name}.log")
    for name in ("tests", "corpus", "examples", "studies"):
        (folder / name).symlink_to(ROOT / name)
    train_tiny(folder / "runs" / "demo", folder / "photos")
    for name in ("mine", "balanced"):
        shutil.copytree(folder / "runs" / "demo", folder / "runs" / name)
    shutil.copy(folder / "runs" / "demo" / "generator.safetensors", folder / "enet-pat.safetensors")


LINK = re.compile(r"\]\(([^)\s]+)[^)]*\)|(?:src|href)=\"([^\"]+)\"")


def anchors(text: str) -> set[str]:
    """The anchors of a Markdown file's headings, as a code host makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    titles = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w -]", "", title).replace(" ", "-") for title in titles}


def dead_links(page: Path) -> list[str]:
    """The links and pictures of a Markdown file that lead to no file, or to no heading of it."""
    text = re.sub(r"`[^`\n]+`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    dead = []
    for link in (markdown or html for markdown, html in LINK.findall(text)):
        path, _, anchor = link.partition("#")
        to = page.parent / path if path else page
        is_there = to.exists() and (not anchor or anchor in anchors(to.read_text("utf-8")))
        if not is_there and not link.startswith(("https:", "http:")):
            dead.append(f"{page.name}: {link}")
    return dead
