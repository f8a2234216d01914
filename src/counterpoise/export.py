"""Generators in the formats of other programs: ONNX, spandrel's state dicts, OpenModelDB's JSON."""

import copy
import datetime
import hashlib
import json
import warnings
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch

from counterpoise.errors import UserError, refusing
from counterpoise.models.bicubic import phase_taps
from counterpoise.models.foreign import PROBE_PX, ForeignGenerator
from counterpoise.models.generator import EnhanceNet, Generator
from counterpoise.models.weights import SHIPPED, load_generator, write_safetensors
from counterpoise.plain_files import atomic_write, write_text

OPSET = 18
# Pictures (N, H, W) on which ONNX Runtime must give what PyTorch gives.
CHECKED_SIZES = ((1, 24, 40), (1, 33, 17), (2, 48, 64))
# The largest difference there, of values in [0, 1]: roundings of 32 bits, and of 16.
MOST_DIFFERENCE, MOST_DIFFERENCE_FP16 = 1e-4, 1e-2
ARCHITECTURE_FILE = "enhancenet_spandrel.py"
SUFFIXES = {"onnx": [".onnx"], "spandrel": [".safetensors", ".pth"]}


def export(source: Path | None, path: Path, into: str, *, fp16: bool) -> list[str]:
    """Write weights, or those of a run (None: of the package), in a format of `SUFFIXES`, and their
    card; what to say of it, line by line. Raises `UserError` where the path is no place for it."""
    if path.suffix not in SUFFIXES[into]:
        suffixes = " or ".join(SUFFIXES[into])
        raise UserError(f"{path}: with --format {into}, give a name that ends in {suffixes}")
    if path.exists():
        raise UserError(f"{path}: exists already; choose another name")
    loaded = load_generator(SHIPPED if source is None else source)
    kept, what = ("trained", "source", "licence"), ""
    facts = {name: text for name, text in loaded.metadata.items() if name in kept}
    degradation = loaded.generator.config.degradation
    # Only real-esrgan draws from ranges.
    drawn = degradation.name == "real-esrgan"
    facts["degradation"] = degradation.model_dump_json() if drawn else degradation.name
    if into == "onnx":
        largest = export_onnx(loaded.generator, path, facts, fp16=fp16)
        what = f", opset {OPSET}, ONNX Runtime's pictures at most {largest:.1e} from PyTorch's"
    else:
        export_state(loaded.generator, path, facts, fp16=fp16)
    card = write_card(loaded.generator, path, facts)
    said = [f"{path}: x{loaded.generator.config.scale}{what}", f"for OpenModelDB: {card}"]
    return [*said, f"weights under {facts['licence']}"] if "licence" in facts else said


def export_onnx(generator: Generator, path: Path, facts: Mapping[str, str], *, fp16: bool) -> float:
    """Write a generator as ONNX: `input` (N, 3, H, W) to `output`, RGB in [0, 1], of any size.

    With `fp16`, weights, input and output are of 16 bits. The largest difference between ONNX
    Runtime and PyTorch (32 bits) in pictures of `CHECKED_SIZES`. Raises `UserError` where the
    network cannot be exported, or where they differ; then nothing is written.
    """
    import onnx
    import onnxruntime

    pictures = [torch.rand(count, 3, height, width) for count, height, width in CHECKED_SIZES]
    network = copy.deepcopy(generator)
    if fp16:
        network, pictures = network.half(), [picture.half() for picture in pictures]
    axes = {0: "count", 2: "height", 3: "width"}
    with atomic_write(path) as temporary:
        # Of any kind, since the network may be anybody's.
        with refusing(f"{path}: PyTorch cannot export this network"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # The newer exporter takes 24 s of processor time instead of 1, for the same nodes.
            torch.onnx.export(
                network,
                (pictures[0][..., :PROBE_PX, :PROBE_PX],),  # small: it is run, if in 16 bits
                temporary,
                dynamo=False,
                dynamic_axes={"input": axes, "output": axes},
                input_names=["input"],
                output_names=["output"],
                opset_version=OPSET,
            )
        model = onnx.load(temporary)
        onnx.helper.set_model_props(model, dict(facts))
        onnx.save(model, temporary)
        runtime: Any = onnxruntime.InferenceSession(  # type: ignore[attr-defined]
            temporary, providers=["CPUExecutionProvider"]
        )
        with torch.inference_mode():
            wanted = torch.cat([generator(picture.float()).flatten() for picture in pictures])
        given = [runtime.run(None, {"input": picture.numpy()})[0].ravel() for picture in pictures]
        largest = float((torch.from_numpy(np.concatenate(given)) - wanted).abs().max())
        if not largest <= (MOST_DIFFERENCE_FP16 if fp16 else MOST_DIFFERENCE):
            raise UserError(f"{path}: ONNX Runtime's pictures are {largest:.2g} off; not written")
    return largest


def export_state(generator: Generator, path: Path, facts: Mapping[str, str], *, fp16: bool) -> None:
    """Write a generator's tensors by the network's own names: .safetensors, or .pth.

    With all that is needed to use them, since spandrel knows a network by its tensors alone: an
    EnhanceNet's input mean and the taps of its bicubic base are among them. Beside it comes the
    file of code that spandrel needs, which does not know EnhanceNet yet.
    """
    network = generator.network if isinstance(generator, ForeignGenerator) else generator
    state = network.state_dict()
    if fp16:
        state = {
            name: own.half() if own.is_floating_point() else own for name, own in state.items()
        }
    if isinstance(generator, EnhanceNet):
        config = generator.config
        state["input_mean"] = generator.input_mean
        state["bicubic_taps"] = torch.tensor(phase_taps(config.scale, config.bicubic))
        code = files("counterpoise.models") / f"{ARCHITECTURE_FILE}.template"
        write_text(path.with_name(ARCHITECTURE_FILE), code.read_text(encoding="utf-8"))
    if path.suffix == ".safetensors":
        write_safetensors(path, state, facts)
        return
    with atomic_write(path) as temporary:
        torch.save(state, temporary)


def _architecture(generator: Generator) -> str:
    if isinstance(generator, ForeignGenerator):
        return type(generator.network).__name__.lower()
    return generator.config.name


def write_card(generator: Generator, path: Path, facts: Mapping[str, str]) -> Path:
    """Write what OpenModelDB wants to know of an exported file, beside it, as JSON; the path.

    What only its author knows is empty: author, tags, addresses, pictures.
    """
    config, content, licence = generator.config, path.read_bytes(), facts.get("licence", " ")
    template = files("counterpoise.models") / "openmodeldb.json.template"
    card = json.loads(template.read_text(encoding="utf-8")) | {
        "name": path.stem,
        "license": None if " " in licence else licence,  # an SPDX identifier has no blanks
        "description": "\n".join(f"{name}: {text}" for name, text in facts.items()),
        "date": datetime.date.today().isoformat(),
        "architecture": _architecture(generator),
        "scale": config.scale,
    }
    kind, size, sha256 = path.suffix[1:], len(content), hashlib.sha256(content).hexdigest()
    file = {"platform": "onnx" if kind == "onnx" else "pytorch", "type": kind}
    card["resources"] = [{**file, "size": size, "sha256": sha256, "urls": []}]
    # Its whole name: a network is exported in more than one format.
    written = path.with_name(f"{path.name}.json")
    write_text(written, json.dumps(card, indent=4) + "\n")
    return written
