"""Held-out images during a training: samples, metrics, and what these say of going on."""

from typing import Any

from counterpoise.evaluate.measures import HELD_OUT
from counterpoise.evaluate.scores import Scores, by_bicubic, by_generator, score_pairs
from counterpoise.json_lines import read_json_lines
from counterpoise.outlook import nearest_to_ideal, stop_reason
from counterpoise.run_folder import BICUBIC, RunFolder
from counterpoise.run_writer import RunWriter
from counterpoise.training.interruption import StopRequest
from counterpoise.training.samples import sample_grid, save_grid
from counterpoise.training.setup import Parts
from counterpoise.training.state import TrainingState


class HeldOut:
    """Shows the averaged generator on images that nothing is trained on. The first process does,
    and all get one answer."""

    def __init__(self, parts: Parts, run: RunFolder, state: TrainingState) -> None:
        self._parts, self._run, self._state = parts, run, state
        # The metrics of the last stage, in order; of the first process only.
        self._rows: list[dict[str, Any]] = []

    def score_baseline(self, writer: RunWriter) -> None:
        """Record bicubic's metrics."""
        if self._parts.fabric.is_global_zero:
            scale = self._parts.config.generator.scale
            pairs = self._parts.images.held_out
            scores = score_pairs(BICUBIC, pairs, scale, by_bicubic(scale), HELD_OUT)
            writer.metrics(0, BICUBIC, scores.means())

    def show(self, stop: StopRequest, writer: RunWriter) -> bool:
        """Write samples and metrics; False where the first process was asked to stop before it had
        them."""
        fabric, state = self._parts.fabric, self._state
        if fabric.is_global_zero:
            self._show(stop, writer)
        state.show_is_due = bool(fabric.broadcast(state.show_is_due))
        return not state.show_is_due

    def _show(self, stop: StopRequest, writer: RunWriter) -> None:
        parts, state = self._parts, self._state
        images, g, scale = parts.images, parts.networks.g_average, parts.config.generator.scale
        name = state.stage.name
        scores, upscale = Scores(name), by_generator(g, parts.fabric.device)
        for pair in images.held_out:
            if stop.requested:
                return
            scores.rows += score_pairs(name, [pair], scale, upscale, HELD_OUT).rows
        grid = sample_grid(g, images.sample_lr, images.sample_hr, scale)
        save_grid(grid, self._run.sample(state.step))
        writer.samples(state.step, grid)
        means = scores.means()
        writer.metrics(state.step, name, means)
        if state.stage is state.stages[-1]:
            self._rows.append({"step": state.step, **means})
        state.show_is_due = False

    def early_stop(self, total_steps: int) -> str:
        """Why the training ends here, by `train.stop`; empty to go on."""
        if self._parts.config.train.stop == "never":
            return ""
        fabric, reason = self._parts.fabric, None
        if fabric.is_global_zero:
            reason = stop_reason(self._rows, total_steps)
        return str(fabric.broadcast(reason or ""))

    @property
    def best_step(self) -> int | None:
        """The step with the metrics that are nearest to the ideal."""
        return nearest_to_ideal(self._rows)

    def load_rows(self) -> None:
        """Take up what a resumed training has on record."""
        fabric, state = self._parts.fabric, self._state
        if fabric.is_global_zero:
            # A person's own rows may not say what they are of.
            rows = [
                row
                for row in read_json_lines(self._run.metrics)[0]
                if isinstance(row.get("stage"), str) and isinstance(row.get("step"), int)
            ]
            done = {(row["step"], row["stage"]) for row in rows}
            state.show_is_due = state.show_is_due and (state.step, state.stage.name) not in done
            self._rows = [row for row in rows if row["stage"] == state.stages[-1].name]
        state.show_is_due = bool(fabric.broadcast(state.show_is_due))
