"""`export` behind the command line."""

from pathlib import Path

from counterpoise.commands.console import say
from counterpoise.export import export


def run(source: Path | None, destination: Path, into: str, fp16: bool) -> None:
    """Export; say what was written, how exact it is, and whose licence it is under."""
    for line in export(source, destination, into, fp16=fp16):
        say(line)
