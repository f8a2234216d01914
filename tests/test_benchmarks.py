"""The benchmarks run, in a tiny setting; what they measure is not looked at here."""

import importlib
import json
import math
import sys
from pathlib import Path

import pytest
import torch

from counterpoise.config import GeneratorConfig
from counterpoise.models.features import EMBEDDED_BANK, load_vgg19
from counterpoise.models.generator import build_generator
from counterpoise.models.weights import read_safetensors, save_generator
from helpers import scripts_of, write_images
from training_helpers import TINY

SMALL = [*TINY, "train.log_every=2"]
BRIEF = {"rounds": 1, "round_steps": 2, "turn_steps": 2}
FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCHMARK_RESULTS", str(tmp_path / "results"))
    with scripts_of(FOLDER):
        yield


def load(name):
    return importlib.import_module(name)


def test_interleaving_and_ratios(tmp_path):
    measuring = load("measuring")
    order = []
    contestants = {name: lambda n=name: order.append(n) for name in "ab"}
    times = measuring.interleave(contestants, rounds=3, turns=2)
    assert order == ["b", "a", "a", "b"] * 3
    assert [len(values) for values in times.values()] == [3, 3]
    results = measuring.summary({"a": [1.0, 2.0, 6.0], "b": [2.0, 4.0, 3.0]}, "a", units=2)
    assert results["b"] == {"seconds": 1.5, "ratio": 2.0}
    measuring.report("name", {"rounds": 3}, results)
    written = json.loads((tmp_path / "results" / "name.json").read_text())
    assert written["results"] == results
    assert written["machine"]["torch"]


def test_the_loops_train_the_same_networks_on_the_same_batches():
    loops = load("loops")
    bare, basicsr = loops.Bare("demo", SMALL), loops.BasicSROrder("demo", SMALL)
    for a, b in zip(bare.next_batch(), basicsr.next_batch(), strict=True):
        assert a.equal(b)
    before = [p.detach().clone() for p in bare.g.parameters()]
    assert all(a.equal(b) for a, b in zip(before, basicsr.g.parameters(), strict=True))
    for loop in (bare, basicsr):
        loop.steps(1)
        assert all(math.isfinite(value) for value in loop.logged.values())
    assert not all(a.equal(b) for a, b in zip(before, bare.g.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "arguments", "options", "expected"),
    [
        ("training_speed", ["demo", SMALL], BRIEF,
         {"bare loop", "BasicSR's order", "ours", "ours, no sensors"}),
        ("balance_cost", [], BRIEF,
         {"without", "policy none", "policy auto, without R1", "policy auto"}),
        ("r1_cost", [], {"rounds": 1, "batch": 1, "device": "cpu"},
         {"without", "exact", "estimate"}),
        ("data_path", [], {"images": 2, "count": 1, "workers": 0, "rounds": 1}, {"ratio"}),
        ("waiting", ["demo", SMALL, 2], {}, {"share"}),
        ("growth", ["demo", [2], [32, 64], SMALL], {"steps": 1},
         {"batch 2, crop 32", "batch 2, crop 64", "fit"}),
        ("signals_growth", [100, "auto"], {}, {"bytes_per_step"}),
        pytest.param("ddp_scaling", ["demo", SMALL], {"steps": 4, "batch": 2}, {"scaling"},
                     marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_benchmark_runs(name, arguments, options, expected):
    assert expected <= load(name).measure(*arguments, **options).keys()


def test_upscale_speed():
    assert load("upscale_speed").run_once("tiled", 0.01, 16, 4).keys() >= {"peak_mib"}


def test_the_script_for_gpus_runs_its_stages(tmp_path):
    stages = load("on_gpu").STAGES
    results = load("training_speed").measure("demo", SMALL, **BRIEF, ours=stages)
    assert set(results) == {"bare loop", "BasicSR's order", *stages}
    path = load("on_gpu").random_vgg(tmp_path)
    assert load_vgg19(path, None, ["pool5"]).available_layers[-1] == "pool5"


def test_read_log(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["read_log", "--lines", "200"])
    load("read_log").main()
    results = json.loads((tmp_path / "results" / "read_log.json").read_text())["results"]
    assert [found["rows"] for found in results.values()] == [20, *[200] * 8]


def test_the_embedded_bank_is_what_its_script_makes():
    made, own = load("embedded_bank").bank(), read_safetensors(EMBEDDED_BANK)[0]
    assert made.keys() == own.keys()
    for name, weight in own.items():
        assert torch.allclose(weight, made[name], atol=1e-6)


def test_make_bench_runs_every_benchmark():
    helpers = {"measuring", "loops", "run", "on_gpu", "flagship", "pack_weights", "embedded_bank"}
    assert set(load("run").ALL) == {path.stem for path in FOLDER.glob("*.py")} - helpers


@pytest.mark.slow
def test_the_flagship_trains_its_variants_and_scores_them(tmp_path, monkeypatch):
    """In a tiny setting, from a network that knows nothing."""
    flagship, data = load("flagship"), tmp_path / "data"
    write_images(data / "train" / "BSDS400", 4, 64, 64)
    write_images(data / "benchmark" / "Set5" / "HR", 2, 128, 128)
    write_images(data / "benchmark" / "Set5" / "LR_bicubic_x4", 2, 32, 32)
    (data / "weights").mkdir()
    (data / "weights" / "vgg19_to_relu3_4.safetensors").touch()
    start = build_generator(GeneratorConfig(width=4, blocks=1, degradation="lanczos"))
    save_generator(data / "weights" / "enet_e_0.safetensors", start, {})
    tiny = [item for item in TINY if not item.startswith(("data", "loss"))]
    tiny += ["generator.degradation=lanczos", "data.crop_px=64", "data.held_out_images=1"]
    tiny += ["loss={perceptual: {layers: {pool1: 1}}, texture: {layers: {pool1: 1}}}"]
    tiny += ["data.held_out_px=64", "train={pretrain_steps: 0, steps: 4, precision: 32-true}"]
    words = ["--data", str(data), "--out", str(tmp_path / "out"), "--minutes", "5"]
    words += ["--variants", "pt", "pat-instance-auto"]
    words += [word for item in tiny for word in ("--set", item)]
    monkeypatch.setattr(sys, "argv", ["flagship.py", *words])
    flagship.main()
    scores = json.loads((tmp_path / "results" / "flagship.json").read_text())["results"]
    methods = {place.partition(", ")[2].partition(" ")[0] for place in scores}
    assert methods == {"bicubic", "enet_e_0", "pt", "pat-instance-auto"}
    assert all(math.isfinite(row["psnr_y"]) for row in scores.values())
    for name in ("pt", "pat-instance-auto"):
        assert len((tmp_path / "out" / name / "signals.jsonl").read_text().splitlines()) == 4
