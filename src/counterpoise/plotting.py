"""matplotlib, an extra, without a display."""

import importlib
import io
from typing import Any

from counterpoise.errors import UserError


def pyplot() -> Any:
    """matplotlib's pyplot; `UserError` where matplotlib is not installed."""
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ModuleNotFoundError:
        raise UserError(
            "figures need matplotlib; install it: pip install 'counterpoise[study]'"
        ) from None
    matplotlib.use("Agg")
    # Text as text, and the same file for the same numbers.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "counterpoise"})
    return importlib.import_module("matplotlib.pyplot")


def rendered(figure: Any, kind: str) -> bytes:
    """A figure as the bytes of an SVG or PNG file."""
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()
