"""Random numbers: seeds for a run, and the global generators' state for bitwise resumption."""

import random

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def generator_for_step(
    seed: int, step: int, rank: int, device: torch.device, stream: int = 0
) -> torch.Generator:
    """A generator that depends on nothing but its arguments, so that nothing needs saving.

    `stream` tells several uses within a step apart.
    """
    sequence = np.random.SeedSequence([seed, step, rank, stream])
    state = int(sequence.generate_state(1, np.uint64)[0])
    return torch.Generator(device).manual_seed(state % 2**63)


def global_rng_state() -> dict[str, torch.Tensor]:
    """PyTorch's global generator states, CPU and CUDA, as byte tensors."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def restore_global_rng_state(state: dict[str, torch.Tensor]) -> None:
    """Undo `global_rng_state`."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
