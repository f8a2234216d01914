"""Two time-scales: different learning rates for D and G."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from counterpoise.records import Action, Signals


@dataclass
class TturPolicy:
    """D and G keep learning rates of their own, multiples of the configured ones, all the way.

    The default is D 4 : G 1, as in SAGAN (4e-4 and 1e-4). It never looks at a signal.

    Source: Heusel et al. 2017 (arXiv 1706.08500), "Two Time-Scale Update Rule for GANs";
    Zhang et al. 2019 (SAGAN, arXiv 1805.08318), section 4 ("Experiments"), for the ratio.
    """

    reads_signals: ClassVar[bool] = False

    d_learning_rate_scale: float = 4.0
    g_learning_rate_scale: float = 1.0

    def __post_init__(self) -> None:
        if not all(
            0 < scale < math.inf
            for scale in (self.d_learning_rate_scale, self.g_learning_rate_scale)
        ):
            raise ValueError("d_learning_rate_scale and g_learning_rate_scale must be above 0")

    def observe(self, signals: Signals) -> Action:
        return Action(
            d_learning_rate_scale=self.d_learning_rate_scale,
            g_learning_rate_scale=self.g_learning_rate_scale,
            reason=f"two time-scales: learning rates are {self.d_learning_rate_scale:g} (D) and "
            f"{self.g_learning_rate_scale:g} (G) times the configured ones",
        )

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass
