"""Held-out images during a training: samples, metrics, and what these say of going on."""

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from counterpoise.evaluate.measures import HELD_OUT
from counterpoise.evaluate.scores import Scores, by_bicubic, by_generator, score_pairs
from counterpoise.json_lines import read_json_lines
from counterpoise.models.bicubic import bicubic_upsample
from counterpoise.plain_files import atomic_write
from counterpoise.run_folder import BICUBIC, SHEET_COLUMNS, SHEET_GAP_PX, SHEET_HEADER_PX, RunFolder
from counterpoise.run_writer import RunWriter
from counterpoise.training.interruption import StopRequest
from counterpoise.training.setup import Parts
from counterpoise.training.state import TrainingState


class HeldOut:
    """Shows the averaged generator on images that nothing is trained on. The first process does,
    and all get one answer."""

    def __init__(self, parts: Parts, run: RunFolder, state: TrainingState) -> None:
        self._parts, self._run, self._state = parts, run, state

    def score_baseline(self, writer: RunWriter) -> None:
        """Record bicubic's metrics."""
        if self._parts.fabric.is_global_zero:
            scale = self._parts.config.generator.scale
            scores = score_pairs(BICUBIC, self._parts.held_out, by_bicubic(scale), HELD_OUT)
            writer.metrics(0, BICUBIC, scores.means())

    @property
    def is_due(self) -> bool:
        """Whether the step that was just done is one to show."""
        step, every = self._state.step, self._parts.config.train.sample_every
        return step % every == 0 or step == self._state.stage.last_step

    def show(self, stop: StopRequest, writer: RunWriter) -> bool:
        """Write samples and metrics; False where the first process was asked to stop before."""
        fabric = self._parts.fabric
        return bool(fabric.broadcast(fabric.is_global_zero and self._show(stop, writer)))

    def _show(self, stop: StopRequest, writer: RunWriter) -> bool:
        parts, state = self._parts, self._state
        g, scale = parts.networks.g_average, parts.config.generator.scale
        name = state.stage.name
        scores, upscale = Scores(name), by_generator(g, parts.fabric.device)
        for pair in parts.held_out:
            if stop.requested:
                return False
            scores.rows += score_pairs(name, [pair], upscale, HELD_OUT).rows
        grid = sample_grid(g, *parts.samples, scale)
        with atomic_write(self._run.sample(state.step)) as temporary:
            Image.fromarray(grid).save(temporary, format="PNG")
        writer.metrics(state.step, name, scores.means())
        return True

    @property
    def is_missing(self) -> bool:
        """Whether the step is still to be shown, of a training that was stopped before it was."""
        fabric, state = self._parts.fabric, self._state
        if missing := fabric.is_global_zero and self.is_due:
            rows = read_json_lines(self._run.metrics)[0]
            shown = [(row.get("stage"), row["step"]) for row in rows]
            missing = (state.stage.name, state.step) not in shown
        return bool(fabric.broadcast(missing))


def sample_grid(generator: nn.Module, lr: Tensor, hr: Tensor, scale: int) -> np.ndarray:
    """The grid as uint8 (H, W, 3): a row per crop, columns as in `SHEET_COLUMNS`.

    `lr` (N, 3, h, w) and `hr` (N, 3, H, W) are in [0, 1]; the generator is used as it is.
    """
    with torch.inference_mode():
        output = generator(lr).float()
    nearest = lr.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    columns = torch.stack([nearest, bicubic_upsample(lr, scale, "half-pixel"), output, hr])
    pixels = (columns.clamp(0, 1) * 255).round().byte()
    gap = SHEET_GAP_PX
    tiles = F.pad(pixels, (0, gap, 0, gap), value=255).permute(1, 3, 0, 4, 2)
    rows, height, count, width, _ = tiles.shape
    sheet = tiles.reshape(rows * height, count * width, 3)[:-gap, :-gap].cpu().numpy()
    header = ((SHEET_HEADER_PX, 0), (0, 0), (0, 0))
    canvas = Image.fromarray(np.pad(sheet, header, constant_values=255))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=11)
    for column, title in enumerate(SHEET_COLUMNS):
        if font.getlength(title) > width - gap:
            title = title.split()[0]
        draw.text((column * width + 2, 2), title, fill="black", font=font)
    return np.asarray(canvas)
