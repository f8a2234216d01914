"""What all benchmarks share: machine facts, interleaved rounds, medians, and a JSON file each."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
    }


def seconds_of(run: Callable[[], Any], device: torch.device) -> float:
    """What a call takes: on a CPU this process's own time, so that other programs count less."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        started = time.perf_counter()
        run()
        torch.cuda.synchronize()
        return time.perf_counter() - started
    started = time.process_time()
    run()
    return time.process_time() - started


def interleave(
    contestants: dict[str, Callable[[], Any]],
    rounds: int,
    device: torch.device | str = "cpu",
    turns: int = 1,
) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, of `turns` calls; who goes first alternates."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        taken = dict.fromkeys(contestants, 0.0)
        for turn in range(turns):
            for name in list(contestants)[:: 1 if turn % 2 else -1]:
                taken[name] += seconds_of(contestants[name], torch.device(device))
        for name, seconds in taken.items():
            times[name].append(seconds)
    return times


def summary(times: dict[str, list[float]], base: str, units: float = 1.0) -> dict[str, Any]:
    """Medians (seconds per unit, `units` in a round) and each one's ratio to `base`: the median
    over rounds of the ratios within a round."""
    return {
        name: {
            "seconds": statistics.median(values) / units,
            "ratio": statistics.median([a / b for a, b in zip(values, times[base], strict=True)]),
        }
        for name, values in times.items()
    }


def report(name: str, settings: dict[str, Any], results: dict[str, Any]) -> dict[str, Any]:
    """Print the results and write them to `results/NAME.json`."""
    whole = {"machine": machine(), "settings": settings, "results": results}
    print(f"{name}: {json.dumps(settings)}")
    for key, value in results.items():
        print(f"  {key}: {json.dumps(value)}")
    folder = Path(os.environ.get("BENCHMARK_RESULTS", RESULTS))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    return whole
