"""`Balance` in PyTorch Lightning, where a GAN is trained with manual optimisation.

Needs Lightning: `pip install counterpoise[lightning]`.
"""

from typing import Any

from torch import nn

from counterpoise.anyloop.handle import Balance
from counterpoise.errors import UserError

try:
    import lightning.pytorch as pl
except ImportError as error:
    raise UserError(
        "counterpoise.anyloop.lightning needs Lightning; install it with "
        "`pip install counterpoise[lightning]`"
    ) from error


class BalanceCallback(pl.Callback):
    """Gives a LightningModule its `Balance` as `self.balance`, from the start of the training on.

    The module marks the two parts of its `training_step` with `self.balance.d_step()` and
    `self.balance.g_step()`. Its networks are found by their attributes' names, their optimizers
    by the parameters that they own. The state goes into Lightning's checkpoints and comes back.
    `options` are those of `Balance`. Raises `UserError` where a network or its optimizer is not
    found, or the module does not use manual optimisation.
    """

    def __init__(
        self,
        generator: str = "generator",
        discriminator: str = "discriminator",
        **options: Any,
    ) -> None:
        super().__init__()
        self._names = {"generator": generator, "discriminator": discriminator}
        self._options = options
        self._state: dict[str, Any] | None = None
        self.balance: Balance | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Everything is built and restored: begin to watch."""
        kind = type(pl_module).__name__
        if pl_module.automatic_optimization:
            raise UserError(
                f"BalanceCallback: {kind} must use manual optimisation; set "
                "self.automatic_optimization = False"
            )
        networks: list[Any] = []
        optimizers: list[Any] = []
        for role, name in self._names.items():
            network = getattr(pl_module, name, None)
            if not isinstance(network, nn.Module):
                raise UserError(
                    f"BalanceCallback: {kind} has no network '{name}'; name it: "
                    f'BalanceCallback({role}="...")'
                )
            networks.append(network)
            wanted = {id(p) for p in network.parameters()}
            owning = [
                optimizer
                for optimizer in trainer.optimizers
                if wanted & {id(p) for group in optimizer.param_groups for p in group["params"]}
            ]
            if not owning:
                raise UserError(
                    f"BalanceCallback: no optimizer owns parameters of {role} '{name}'; return one "
                    "for each network from configure_optimizers"
                )
            optimizers.append(owning[0])
        self.balance = Balance(*networks, *optimizers, **self._options)
        if self._state is not None:
            self.balance.load_state_dict(self._state)
        # Not a submodule, so the checkpoint's weights stay as they are.
        vars(pl_module)["balance"] = self.balance

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write what is left."""
        if self.balance is not None:
            self._state = self.balance.state_dict()
            self.balance.close()
            self.balance = None

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Write what is left."""
        self.on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """For Lightning's checkpoints."""
        return self._state or {} if self.balance is None else self.balance.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From Lightning's checkpoints; taken up when the training starts."""
        self._state = state_dict or None
