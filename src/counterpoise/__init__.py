"""Train GANs in balance: the EnhanceNet family, with diagnosis and control of D against G.

`Balance` and `check_loop` bring both to any PyTorch loop. They are loaded at first use, so that
importing the package does not import PyTorch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterpoise.anyloop.handle import Balance, check_loop

__all__ = ["Balance", "check_loop"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    import counterpoise.anyloop.handle

    return getattr(counterpoise.anyloop.handle, name)
