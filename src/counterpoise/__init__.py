"""Find out why a GAN training fails, keep D and G in balance, train 4x super-resolution.

`Balance` is for any PyTorch loop; `diagnose` judges a log, and needs no PyTorch. Both are
loaded at first use, so that importing the package imports nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from counterpoise.errors import to_install

if TYPE_CHECKING:
    from counterpoise.anyloop.handle import Balance
    from counterpoise.judging import diagnose

__all__ = ["Balance", "diagnose"]
_HOMES = {"Balance": "counterpoise.anyloop.handle", "diagnose": "counterpoise.judging"}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from counterpoise.run_folder import version

        return version("counterpoise")
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        raise ImportError(f"counterpoise.{name}: {to_install(error) or error}") from error
