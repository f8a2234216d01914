"""How a person wants something watched."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from counterpoise.watching.defaults import STALE_SECONDS


@dataclass(frozen=True)
class WatchOptions:
    """What a person says of what is watched, and when a training counts as stale."""

    # What the losses are, where the files do not say it.
    objective: str | None = None
    # Names of a log's numbers, as `names.checked_mapping` gives them.
    mapping: Mapping[str, str] = field(default_factory=dict)
    # Of a log: see `diagnose`.
    d_loss_is_mean: bool = False
    stale_seconds: float = STALE_SECONDS
    # Seconds since the epoch, as the times of files are.
    clock: Callable[[], float] = time.time
