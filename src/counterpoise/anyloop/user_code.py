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
    """`file:line` of the innermost frame that is the user's, or "" where there is none.

    A file below the current folder is named as the user would type it.
    """
    frame = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if module not in _OTHERS:
            path, here = Path(frame.f_code.co_filename), Path.cwd()
            path = path.relative_to(here) if path.is_relative_to(here) else path
            return f"{path}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return ""
