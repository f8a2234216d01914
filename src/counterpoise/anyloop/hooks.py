"""The few places where a hand-written loop is listened to: modules, optimizers, backward calls.

All of it is undone by `close`, survives `copy.deepcopy` and pickling of the user's objects (a copy
of a network is not listened to), and does nothing outside a step.
"""

import contextlib
import functools
import itertools
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

# Packages whose wrapper of an optimizer takes the loss scale out of the gradients in its `step`.
_WRAPPERS = ("accelerate", "lightning", "lightning_fabric")

# Packages whose frames are not the user's: a line in them says nothing about what to change.
_NOT_THE_USERS = ("torch", "counterpoise", "pytorch_lightning", "contextlib", *_WRAPPERS)

# Frames of the user's, from the innermost, whose names are looked at; and values in a list of them.
FRAMES, FEW = 6, 64


class ModuleHook:
    """A forward hook that belongs to one module: copies and pickles of it do nothing."""

    def __init__(self, call: Callable[..., Any] | None = None) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return None if self._call is None else self._call(*arguments)

    def __reduce__(self) -> tuple[type["ModuleHook"], tuple[()]]:
        return ModuleHook, ()


class ForwardHook:
    """Stands in a module's `forward`, which whoever calls it by its name does not pass by.

    call: is given the module, its `forward`, and what that is called with. In copies and pickles of
    the module its class's own `forward` is back.
    """

    def __init__(self, module: torch.nn.Module, call: Callable[..., Any]) -> None:
        self._module, self._call, self._run = module, call, module.forward
        self._before = vars(module).get("forward")
        module.forward = self

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._call(self._module, self._run, args, options)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._module, "forward")

    def remove(self) -> None:
        if vars(self._module).get("forward") is self:
            del self._module.forward
            if self._before is not None:
                self._module.forward = self._before


def innermost(optimizer: Any) -> Any:
    """The optimizer inside of such a wrapper, whose step is called when gradients are ready."""
    while type(optimizer).__module__.startswith(_WRAPPERS) and hasattr(optimizer, "optimizer"):
        optimizer = optimizer.optimizer
    return optimizer


def owned_ids(optimizer: torch.optim.Optimizer) -> set[int]:
    """`id` of all weights that an optimizer owns."""
    return {id(weight) for group in optimizer.param_groups for weight in group["params"]}


def _calls_closure_first(optimizer: torch.optim.Optimizer) -> bool:
    return type(optimizer).__module__.startswith("torch.optim.") and not isinstance(
        optimizer, torch.optim.LBFGS
    )


class OptimizerWatch:
    """Stands between the user and `optimizer.step`: `decide(run)` runs it, or not, or changed. The
    step has the `owner` as an attribute, which wrappers of learning-rate schedulers copy.

    The step stays a bound method with its own signature, as learning-rate schedulers and AMP's
    `GradScaler` need it. A closure is called before it is decided, by the optimizers that would
    call it once and first: Lightning's automatic steps have the whole part of a network in one.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        decide: Callable[[Callable[[], Any]], Any],
        owner: Any,
    ) -> None:
        self._optimizer, self._is_open = optimizer, True
        self._before = vars(optimizer).get("step")
        original = optimizer.step

        @functools.wraps(original)
        def step(_: Any, *arguments: Any, **options: Any) -> Any:
            run: Callable[[], Any] = functools.partial(original, *arguments, **options)
            if not self._is_open:
                return run()
            closure = arguments[0] if arguments else options.get("closure")
            if closure is None or not _calls_closure_first(optimizer):
                return decide(run)
            with torch.enable_grad():
                loss = closure()
            decide(original)
            return loss

        step.owner = owner  # type: ignore[attr-defined]
        self._step = types.MethodType(step, optimizer)
        optimizer.step = self._step  # type: ignore[method-assign]

    def close(self) -> None:
        """Stop. The step is what it was before; where somebody has wrapped it since, it passes
        on."""
        self._is_open = False
        if vars(self._optimizer).get("step") is self._step:
            del self._optimizer.step
            if self._before is not None:
                self._optimizer.step = self._before  # type: ignore[method-assign]


class Watched:
    """A function of a module or class that is listened to, while anybody listens: each listener is
    called before it, and what that returns, if anything, after it with the result.

    One replacement serves all, so that several loops in one process may begin and end their steps
    in any order. Where a version of PyTorch lacks the function, nothing is heard.
    """

    def __init__(self, owner: Any, name: str) -> None:
        self._owner, self._name = owner, name
        self._original: Callable[..., Any] | None = getattr(owner, name, None)
        self._listeners: list[Callable[..., Any]] = []
        self.running: dict[str, Any] | None = None  # the options of a call that is under way

    def add(self, listener: Callable[..., Any]) -> Callable[[], None]:
        """Call `listener` with the arguments of every later call, until what this returns is."""
        if not self._listeners and self._original is not None:
            self._original = original = getattr(self._owner, self._name)

            # A function, since a method of a class is called with its object.
            @functools.wraps(original)
            def stand_in(*arguments: Any, **options: Any) -> Any:
                # Listeners must not use up what the function is to be given.
                arguments = tuple(tuple(a) if isinstance(a, Iterator) else a for a in arguments)
                options = {
                    n: tuple(o) if isinstance(o, Iterator) else o for n, o in options.items()
                }
                after = [tell(*arguments, **options) for tell in tuple(self._listeners)]
                before, self.running = self.running, options
                try:
                    result = original(*arguments, **options)
                finally:
                    self.running = before
                for each in filter(None, after):
                    each(result)
                return result

            setattr(self._owner, self._name, stand_in)
        self._listeners.append(listener)
        return functools.partial(self.remove, listener)

    def remove(self, listener: Callable[..., Any]) -> None:
        """Stop calling `listener`; with the last one, the function is itself again."""
        self._listeners.remove(listener)
        if not self._listeners and self._original is not None:
            setattr(self._owner, self._name, self._original)

    @contextlib.contextmanager
    def unheard(self) -> Iterator[None]:
        """No listener is told of calls in this block."""
        listeners, self._listeners = self._listeners, []
        try:
            yield
        finally:
            self._listeners = listeners


# All backward passes, and `autograd.grad`.
ENGINE = Watched(torch.autograd, "_engine_run_backward")


def is_backward() -> bool:
    """Whether a backward pass that leaves gradients is under way, in an open part of a loop: not
    one that a loop asks `autograd.grad` for."""
    return bool((ENGINE.running or {}).get("accumulate_grad"))


def user_frames() -> Iterator[types.FrameType]:
    """The frames that are the user's, innermost first."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _NOT_THE_USERS:
            yield frame
        frame = frame.f_back


def user_tensors() -> Iterator[torch.Tensor]:
    """What the user's functions that are under way have names for, in short tables and lists too;
    of the innermost `FRAMES` alone."""
    for frame in itertools.islice(user_frames(), FRAMES):
        for value in frame.f_locals.values():
            inside = value.values() if isinstance(value, dict) else value
            inside = inside if isinstance(value, dict | list | tuple) else (value,)
            few = itertools.islice(inside, FEW)
            yield from (each for each in few if isinstance(each, torch.Tensor))


def user_line() -> str:
    """`file:line` of the innermost frame that is the user's, or "" where there is none.

    A file below the current folder is named as the user would type it.
    """
    for frame in user_frames():
        path, here = Path(frame.f_code.co_filename), Path.cwd()
        path = path.relative_to(here) if path.is_relative_to(here) else path
        return f"{path}:{frame.f_lineno}"
    return ""
