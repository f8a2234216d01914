"""Where in the user's own code something happens."""

import sys
from pathlib import Path

# Packages whose frames are not the user's: a line in them says nothing about what to change.
_OTHERS = (
    "torch",
    "counterpoise",
    "lightning",
    "pytorch_lightning",
    "lightning_fabric",
    "contextlib",
    "functools",
)


def user_line() -> str:
    """`file:line` of the innermost frame that is the user's, or "" where there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if module not in _OTHERS:
            return f"{_short(frame.f_code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""


def _short(file_name: str) -> str:
    """The path as the user would type it: relative where the file is below the current folder."""
    path = Path(file_name)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return file_name
