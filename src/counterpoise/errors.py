"""The two ways in which counterpoise stops on purpose, and what it says of what is missing."""

import contextlib
from collections.abc import Iterator

# What is not of the core, by the extra that brings it.
EXTRAS = {
    "train": "cv2 lightning_fabric safetensors skimage tifffile torch torchmetrics",
    "tensorboard": "tensorboard",
    "export": "onnx onnxruntime",
    "spandrel": "spandrel",
    "study": "sklearn",
    "ray": "ray",
}


def one_line(text: str) -> str:
    """Text from anywhere as one printable line: other characters (line ends, ESC...) as escapes."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def to_install(error: ModuleNotFoundError) -> str:
    """How to install what was not found; "" for what no extra of ours brings."""
    name = (error.name or "").partition(".")[0]
    extras = [extra for extra, modules in EXTRAS.items() if name in modules.split()]
    return f"this needs {name}: pip install './counterpoise[{extras[0]}]'" if extras else ""


class UserError(Exception):
    """A mistake in what the user gave: one line that says what, where and what to do.

    The command line prints the message without a traceback and exits with code 2. A name or a
    value in the message may hold anything: what does not print is escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


@contextlib.contextmanager
def refusing(what: str, *kinds: type[Exception], instead: str = "") -> Iterator[None]:
    """Errors of these kinds inside (none named: of all but `UserError`, for readers of what may be
    damaged) become a `UserError`: what is wrong, why, and what to do `instead`."""
    try:
        yield
    except Exception as error:
        if not (isinstance(error, kinds) if kinds else not isinstance(error, UserError)):
            raise
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        todo = f"; {instead}" if instead else ""
        raise UserError(f"{what} ({reason[:400] or type(error).__name__}){todo}") from error


class TrainingDivergedError(Exception):
    """A loss or a weight became non-finite: the message names the step and the value.

    The command line prints the message without a traceback and exits with code 1.
    """
