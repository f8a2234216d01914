"""The few places where a hand-written loop is listened to: modules, optimizers, backward calls.

All of it is undone by `close`, survives `copy.deepcopy` and pickling of the user's objects (a copy
of a network is not listened to), and does nothing outside a step.
"""

import functools
import itertools
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def _unwatched(*_: Any) -> None:
    """What a copy of a watched network has in place of the hook."""


def _hook_of_a_copy() -> Callable[..., None]:
    return _unwatched


class ModuleHook:
    """A forward hook that belongs to one module: copies and pickles of it are not watched."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        return _unwatched

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return _hook_of_a_copy, ()


# Packages whose wrapper of an optimizer takes the loss scale out of the gradients in its `step`.
_WRAPPERS = {"accelerate", "lightning", "lightning_fabric"}


def innermost(optimizer: Any) -> Any:
    """The optimizer inside of such a wrapper, whose step is called when gradients are ready."""
    while type(optimizer).__module__.partition(".")[0] in _WRAPPERS and hasattr(
        optimizer, "optimizer"
    ):
        optimizer = optimizer.optimizer
    return optimizer


class OptimizerWatch:
    """Stands between the user and `optimizer.step`: `decide(run)` runs it, or not, or changed.

    The step stays a bound method with its own signature, as learning-rate schedulers and AMP's
    `GradScaler` need it. Several watches of one optimizer share one replacement.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, decide: Callable[[Callable[[], Any]], Any]
    ) -> None:
        self._optimizer, self._decide = optimizer, decide
        replaced = getattr(optimizer.__dict__.get("step"), "__func__", None)
        if not hasattr(replaced, "deciders"):
            replaced = _replace_step(optimizer)
        self._deciders: list[Callable[..., Any]] = replaced.deciders  # type: ignore[union-attr]
        self._deciders.append(decide)
        self._replaced = replaced

    def close(self) -> None:
        """Stop. With the last one the step is itself again, unless somebody else has wrapped it."""
        if self._decide in self._deciders:
            self._deciders.remove(self._decide)
        current = self._optimizer.__dict__.get("step")
        if self._deciders or getattr(current, "__func__", None) is not self._replaced:
            return
        own = self._replaced.own  # type: ignore[union-attr]
        if own is None:
            del self._optimizer.__dict__["step"]
        else:
            self._optimizer.step = own  # type: ignore[method-assign]


def _replace_step(optimizer: torch.optim.Optimizer) -> Any:
    original = optimizer.step

    @functools.wraps(original)
    def step(_: Any, *arguments: Any, **options: Any) -> Any:
        run: Callable[[], Any] = functools.partial(original, *arguments, **options)
        for decide in tuple(step.deciders):  # type: ignore[attr-defined]
            run = functools.partial(decide, run)
        return run()

    step.deciders = []  # type: ignore[attr-defined]
    step.own = optimizer.__dict__.get("step")  # type: ignore[attr-defined]
    optimizer.step = types.MethodType(step, optimizer)  # type: ignore[method-assign]
    return step


class CallWatch:
    """Tells listeners of every call of a function, while there are any.

    One replacement serves all listeners, so that several loops in one process may begin and end
    their steps in any order.
    """

    def __init__(self, owner: Any, name: str) -> None:
        self._owner, self._name = owner, name
        self._listeners: list[Callable[..., None]] = []
        self.running = 0  # calls under way that listeners were told of
        self._original: Callable[..., Any] | None = None
        # The last replacement, with what it replaced: mostly the same is put in place again.
        self._made: tuple[Callable[..., Any], Callable[..., Any]] | None = None

    def add(self, listener: Callable[..., None]) -> None:
        """Call `listener` with the arguments of every later call, before it."""
        if self._original is None:
            self._original = getattr(self._owner, self._name)
            if self._made is None or self._made[0] is not self._original:
                self._made = self._original, self._watched(self._original)
            setattr(self._owner, self._name, self._made[1])
        self._listeners.append(listener)

    def _watched(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def watched(*arguments: Any, **options: Any) -> Any:
            if isinstance(options.get("inputs"), Iterator):
                options["inputs"] = tuple(options["inputs"])  # listeners must not use it up
            for each in tuple(self._listeners):
                each(*arguments, **options)
            self.running += 1
            try:
                return original(*arguments, **options)
            finally:
                self.running -= 1

        return watched

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """Calls in here are nobody's business."""
        listeners, self._listeners = self._listeners, []
        try:
            yield
        finally:
            self._listeners = listeners

    def remove(self, listener: Callable[..., None]) -> None:
        """Stop calling `listener`; with the last one, the function is itself again."""
        if listener in self._listeners:
            self._listeners.remove(listener)
        if not self._listeners and self._original is not None:
            setattr(self._owner, self._name, self._original)
            self._original = None


# `Tensor.backward` goes through this one too; `autograd.grad` does not.
BACKWARD = CallWatch(torch.autograd, "backward")


def leaves_given(inputs: Any) -> list[Tensor] | None:
    """What the `inputs` of a backward pass name, in any of its ways; None where they are left out:
    all leaves."""
    if inputs is None or isinstance(inputs, Tensor):
        return None if inputs is None else [inputs]
    return list(inputs.values() if isinstance(inputs, dict) else inputs)


def minimised(roots: list[Tensor], grad_tensors: Any) -> Iterator[Tensor]:
    """What a backward pass with these arguments minimises, from roots of one value each:
    `loss.backward(minus_one)` minimises -loss."""
    given = [grad_tensors] if isinstance(grad_tensors, Tensor) else list(grad_tensors or ())
    for root, factor in itertools.zip_longest(roots, given[: len(roots)]):
        if root.numel() == 1:
            value = root.detach().float().reshape(())
            yield value if factor is None else value * factor.detach().float().reshape(())


def first_tensor(arguments: tuple[Any, ...], options: dict[str, Any]) -> Tensor | None:
    """The first tensor among a call's arguments: a network's images."""
    for value in (*arguments, *options.values()):
        if isinstance(value, Tensor):
            return value
    return None


def watch_before(module: nn.Module, call: Callable[..., Any]) -> torch.utils.hooks.RemovableHandle:
    """Call `call(module, args, options)` before each forward pass."""
    return module.register_forward_pre_hook(ModuleHook(call), with_kwargs=True)


def watch_after(module: nn.Module, call: Callable[..., Any]) -> torch.utils.hooks.RemovableHandle:
    """Call `call(module, args, options, output)` after each forward pass."""
    return module.register_forward_hook(ModuleHook(call), with_kwargs=True)
