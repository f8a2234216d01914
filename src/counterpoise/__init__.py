"""Train GANs in balance: the EnhanceNet family, with diagnosis and control of D against G.

`Balance` brings both to any PyTorch loop. It is loaded at first use, so that importing the package
does not import PyTorch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterpoise.anyloop.handle import Balance

__all__ = ["Balance"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    import counterpoise.anyloop.handle

    return getattr(counterpoise.anyloop.handle, name)
