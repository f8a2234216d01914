"""What a balance policy is.

A policy reads signals and answers with an action. It never sees a module, an optimizer or a
tensor, so the same class serves our loop, anybody's loop and a recorded log. Adding one is a file
with a dataclass whose fields are its options, and a row in `policies.POLICIES`.
"""

from typing import Any, Protocol

from counterpoise.records import Action, Signals


class Policy(Protocol):
    """Decides, each step, what is trained and how.

    A policy that decides by `signals.step` alone says so with a class attribute `reads_signals =
    False`: a training on a GPU need not wait for the numbers then, which are NaN in what it sees.
    """

    def observe(self, signals: Signals) -> Action:
        """The action for this step. Called once per step, after D's forward pass on the step's
        real and fake images and before D's backward pass."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs, as plain JSON values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Undo `state_dict`; `balance.saved.NotThisStateError` for the state of something else, so
        that a resumption says so in one line."""
        ...


def reads_signals(policy: Policy) -> bool:
    """Whether a policy needs the numbers of a step to decide in it."""
    return bool(getattr(policy, "reads_signals", True))
