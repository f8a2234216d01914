"""What a field's comment says of it: behind it on its line, or directly over it."""

import re

# Not within a string: those of this project's fields hold no `#`.
BEHIND = re.compile(r"  # ((?!type:|noqa).+)$")


def comment_of(lines: list[str], first: int, last: int) -> str:
    """The comment of a field that is written on these lines of a file, counted from 1."""
    behind = BEHIND.search(lines[last - 1])
    if behind:
        return behind[1]
    over: list[str] = []
    for line in reversed(lines[: first - 1]):
        if not line.strip().startswith("# "):
            break
        over.insert(0, line.strip().removeprefix("# "))
    return " ".join(over)
