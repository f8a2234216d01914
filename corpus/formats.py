"""The same training, printed as different programs print theirs.

Each writer takes what is to be shown and answers the text; `FIELDS` says which of the canonical
columns (`counterpoise.trace.COLUMNS`) a reader can get out of it. What a format does not print
cannot be judged, so the labels need to know.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from counterpoise.records import Action, DiscriminatorRecord, Readings, Signals, StepRecord

Row = dict[str, float]

# Steps in what a log calls an epoch.
EPOCH_STEPS = 400
BASIC = ("g_loss", "d_loss", "d_real", "d_fake_before", "d_fake_after")
READINGS = tuple(Readings.__dataclass_fields__)


@dataclass(frozen=True)
class Printed:
    """What is to be written: the rows after the cause has done its part to them."""

    rows: list[Row]
    steps: int
    seed: int
    objective: str | None  # the package's name for it
    policy: str | None = None
    policy_options: tuple[tuple[str, float], ...] = ()


def _epoch(step: float) -> tuple[int, int]:
    """Epoch and step within it, both from 0."""
    return int(step - 1) // EPOCH_STEPS, int(step - 1) % EPOCH_STEPS


def seed(printed: Printed) -> str:
    """The loop of the question that this project answers."""
    epochs = -(-printed.steps // EPOCH_STEPS)
    lines = []
    for row in printed.rows:
        epoch, step = _epoch(row["step"])
        lines.append(
            f"Epoch {epoch + 1}/{epochs} - Step: {step + 1}/{EPOCH_STEPS}  "
            f"Loss G: {row['g_loss']:.6f}  Loss D: {row['d_loss']:.6f}  D(x): {row['d_real']:.6f}"
            f"  D(G(z)): {row['d_fake_before']:.6f} / {row['d_fake_after']:.6f}"
        )
        if step % 100 == 99:
            lines.append(f"Time for the last step: {51 + step % 3:.2f} s    Epoch ETA: 01:04:13")
    return "\n".join(lines)


def dcgan(printed: Printed) -> str:
    """PyTorch's DCGAN tutorial."""
    epochs = -(-printed.steps // EPOCH_STEPS)
    lines = ["Starting Training Loop..."]
    for row in printed.rows:
        epoch, step = _epoch(row["step"])
        lines.append(
            f"[{epoch}/{epochs}][{step}/{EPOCH_STEPS}]\tLoss_D: {row['d_loss']:.4f}\t"
            f"Loss_G: {row['g_loss']:.4f}\tD(x): {row['d_real']:.4f}\t"
            f"D(G(z)): {row['d_fake_before']:.4f} / {row['d_fake_after']:.4f}"
        )
    return "\n".join(lines)


def pytorch_gan(printed: Printed) -> str:
    """The PyTorch-GAN collection, whose D loss is the mean of both halves."""
    epochs = -(-printed.steps // EPOCH_STEPS)
    return "\n".join(
        "[Epoch {}/{}] [Batch {}/{}] [D loss: {:f}] [G loss: {:f}]".format(
            _epoch(row["step"])[0],
            epochs,
            _epoch(row["step"])[1],
            EPOCH_STEPS,
            row["d_loss"] / 2,
            row["g_loss"],
        )
        for row in printed.rows
    )


def basicsr(printed: Printed) -> str:
    """BasicSR and Real-ESRGAN; `out_d_*` are mean logits."""
    lines = []
    for index, row in enumerate(printed.rows):
        minute, second = divmod(7 * index, 60)
        items = [
            ("l_g_pix", row.get("g_content")),
            ("l_g_gan", row["g_adversarial"]),
            ("l_d_real", row["d_loss_real"]),
            ("out_d_real", row["real_logit_mean"]),
            ("l_d_fake", row["d_loss_fake"]),
            ("out_d_fake", row["fake_logit_mean"]),
        ]
        lines.append(
            f"2024-03-05 {10 + minute // 60:02d}:{minute % 60:02d}:{second:02d},417 INFO: "
            f"[tiny_..][epoch:{_epoch(row['step'])[0]:3d}, iter:{int(row['step']):8,d}, "
            f"lr:({row['g_learning_rate']:.3e},)] [eta: 0:12:34, time (data): 0.071 (0.002)] "
            + " ".join(f"{name}: {value:.4e}" for name, value in items if value is not None)
            + " "
        )
    return "\n".join(lines)


def kair(printed: Printed) -> str:
    """KAIR: `G_loss` is the pixel term, `D_loss` the adversarial term of G, `D_*` mean logits."""
    lines = []
    for index, row in enumerate(printed.rows):
        minute, second = divmod(7 * index, 60)
        items = [
            ("G_loss", row.get("g_content")),
            ("D_loss", row["g_adversarial"]),
            ("l_d_real", row["d_loss_real"]),
            ("l_d_fake", row["d_loss_fake"]),
            ("D_real", row["real_logit_mean"]),
            ("D_fake", row["fake_logit_mean"]),
        ]
        lines.append(
            f"24-03-05 {10 + minute // 60:02d}:{minute % 60:02d}:{second:02d}.417 : "
            f"<epoch:{_epoch(row['step'])[0]:3d}, iter:{int(row['step']):8,d}, "
            f"lr:{row['g_learning_rate']:.3e}> "
            + " ".join(f"{name}: {value:.3e}" for name, value in items if value is not None)
            + " "
        )
    return "\n".join(lines)


def pix2pix(printed: Printed) -> str:
    """pix2pix and CycleGAN; `D_real` and `D_fake` are losses."""
    lines = ["================ Training Loss (Tue Mar  5 10:00:00 2024) ================"]
    for row in printed.rows:
        epoch, step = _epoch(row["step"])
        content = f"G_L1: {row['g_content']:.3f} " if "g_content" in row else ""
        lines.append(
            f"(epoch: {epoch + 1}, iters: {step + 1}, time: 0.073, data: 0.002) "
            f"G_GAN: {row['g_adversarial']:.3f} {content}"
            f"D_real: {row['d_loss_real']:.3f} D_fake: {row['d_loss_fake']:.3f} "
        )
    return "\n".join(lines)


def stylegan(printed: Printed) -> str:
    """StyleGAN's stats.jsonl: means over all images since the last line."""
    lines = []
    for row in printed.rows:

        def entry(mean: float, std: float = 0.1, count: int = 640) -> dict[str, float]:
            return {"num": count, "mean": mean, "std": std}

        lines.append(
            json.dumps(
                {
                    "Loss/scores/fake": entry(row["fake_logit_average"], row["fake_logit_std"]),
                    "Loss/signs/fake": entry(row["fake_sign_average"], 0.5),
                    "Loss/G/loss": entry(row["g_loss_average"]),
                    "Loss/scores/real": entry(row["real_logit_average"], row["real_logit_std"]),
                    "Loss/signs/real": entry(row["real_sign_average"], 0.5),
                    "Loss/D/loss": entry(row["d_loss_average"]),
                    "Progress/tick": entry(row["step"] // 20, 0.0, 1),
                    "Progress/kimg": entry(row["step"] * 0.064, 0.0, 1),
                    "timestamp": 1709632800.0 + 3 * row["step"],
                }
            )
        )
    return "\n".join(lines)


def keras(printed: Printed) -> str:
    """Keras: averages over an epoch; here an epoch is the stretch between two rows."""
    lines = []
    for index, row in enumerate(printed.rows):
        lines.append(f"Epoch {index + 1}/{len(printed.rows)}")
        lines.append(
            f"20/20 [==============================] - 2s 15ms/step - "
            f"d_loss: {row['d_loss_average']:.4f} - g_loss: {row['g_loss_average']:.4f}"
        )
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:.6g}"


def _columns(printed: Printed, names: tuple[str, ...]) -> list[str]:
    there = {name for row in printed.rows for name in row}
    return [name for name in names if name in there]


def csv(printed: Printed) -> str:
    """A table of what people usually keep."""
    names = ("g_loss", "d_loss", "d_real", "d_fake")
    lines = ["step," + ",".join(names)]
    for row in printed.rows:
        values = [row["g_loss"], row["d_loss"], row["d_real"], row["d_fake_before"]]
        lines.append(f"{int(row['step'])}," + ",".join(map(_number, values)))
    return "\n".join(lines)


WIDE = (
    *BASIC,
    "d_accuracy_real",
    "d_accuracy_fake",
    "auc",
    "real_logit_mean",
    "fake_logit_mean",
    *READINGS,
)


def wide_csv(printed: Printed) -> str:
    """A table with our sensors' columns, for loops that print them."""
    names = _columns(printed, WIDE)
    lines = ["step," + ",".join(names)]
    for row in printed.rows:
        lines.append(f"{int(row['step'])}," + ",".join(_number(row[name]) for name in names))
    return "\n".join(lines)


def jsonl(printed: Printed) -> str:
    """JSON lines with the names that a wandb user might choose."""
    lines = []
    for row in printed.rows:
        values = {
            "step": int(row["step"]),
            "loss_g": row["g_loss"],
            "loss_d": row["d_loss"],
            "d_real": row["d_real"],
            "d_fake": row["d_fake_before"],
        }
        lines.append(
            json.dumps({k: float(f"{v:.6g}") if k != "step" else v for k, v in values.items()})
        )
    return "\n".join(lines)


def keyvalue(printed: Printed) -> str:
    """Text of name=value pairs."""
    return "\n".join(
        f"step={int(row['step'])} g_loss={row['g_loss']:.5f} d_loss={row['d_loss']:.5f} "
        f"d_real={row['d_real']:.5f} d_fake_before={row['d_fake_before']:.5f} "
        f"d_fake_after={row['d_fake_after']:.5f}"
        for row in printed.rows
    )


def run_signals(printed: Printed) -> str:
    """`signals.jsonl` of our run folders, thinned to the printed steps."""
    lines = []
    for row in printed.rows:
        signals = Signals(
            step=int(row["step"]),
            d_real=row["d_real"],
            d_fake=row["d_fake_before"],
            **{
                name: row[name]
                for name in (
                    "d_loss_real",
                    "d_loss_fake",
                    "d_accuracy_real",
                    "d_accuracy_fake",
                    "real_logit_mean",
                    "real_logit_std",
                    "fake_logit_mean",
                    "fake_logit_std",
                    "auc",
                )
            },
        )
        terms = {"adversarial": row["g_adversarial"]}
        if "g_content" in row:
            terms["pixel"] = row["g_content"]
        acted = Action(
            d_steps=int(row["d_updated"]), reason="D's loss is not above the gate's threshold"
        )
        of_d = DiscriminatorRecord(
            signals,
            row["d_learning_rate"],
            updated=bool(row["d_updated"]),
            fake_after=row["d_fake_after"],
            penalty=row.get("d_penalty", 0.0),
            action=acted if row["gate_acted"] else Action(),
            readings=Readings(**{name: row[name] for name in READINGS if name in row}),
        )
        record = StepRecord(
            step=int(row["step"]),
            stage="train",
            g_loss=row["g_loss"],
            g_terms=terms,
            g_updated=True,
            g_learning_rate=row["g_learning_rate"],
            seconds=0.02,
            discriminators={"": of_d},
        )
        values = {k: _short(v) for k, v in record.to_json().items()}
        lines.append(json.dumps(values, allow_nan=False))
    return "\n".join(lines)


def _short(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    return value


def _run_config(printed: Printed) -> str:
    lines = ["loss:", "  adversarial:", f"    form: {printed.objective}", "    weight: 1.0"]
    lines += ["balance:", f"  policy: {printed.policy or 'none'}"]
    if printed.policy_options:
        lines.append("  options:")
        lines += [f"    {name}: {value:g}" for name, value in printed.policy_options]
    lines += ["train:", f"  steps: {printed.steps}", f"  seed: {printed.seed}"]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Format:
    """How a log is written, and what can be read from it."""

    write: Callable[[Printed], str]
    suffix: str
    fields: frozenset[str]  # readings apart: these are there where the rows have them
    readings: bool = False
    is_run: bool = False
    averages: bool = False  # its losses are means over the lines' intervals


LOGITS = ("real_logit_mean", "fake_logit_mean")
HALVES = ("d_loss_real", "d_loss_fake")
FORMATS = {
    "seed": Format(seed, ".log", frozenset(BASIC)),
    "dcgan": Format(dcgan, ".log", frozenset(BASIC)),
    "pytorch-gan": Format(pytorch_gan, ".log", frozenset({"g_loss", "d_loss"})),
    "basicsr": Format(basicsr, ".log", frozenset({"g_adversarial", "g_content", *HALVES, *LOGITS})),
    "kair": Format(kair, ".log", frozenset({"g_adversarial", "g_content", *HALVES, *LOGITS})),
    "pix2pix": Format(pix2pix, ".log", frozenset({"g_adversarial", "g_content", *HALVES})),
    "stylegan": Format(
        stylegan,
        ".jsonl",
        frozenset({"g_loss", "d_loss", *LOGITS, "d_accuracy_real", "d_accuracy_fake"}),
        averages=True,
    ),
    "keras": Format(keras, ".log", frozenset({"g_loss", "d_loss"}), averages=True),
    "csv": Format(csv, ".csv", frozenset({"g_loss", "d_loss", "d_real", "d_fake_before"})),
    "wide-csv": Format(wide_csv, ".csv", frozenset(WIDE) - set(READINGS), readings=True),
    "jsonl": Format(jsonl, ".jsonl", frozenset({"g_loss", "d_loss", "d_real", "d_fake_before"})),
    "keyvalue": Format(keyvalue, ".txt", frozenset(BASIC)),
    "run": Format(
        run_signals,
        "",
        frozenset(
            {*BASIC, *HALVES, *LOGITS, "d_accuracy_real", "d_accuracy_fake", "auc", "d_updated"}
        ),
        readings=True,
        is_run=True,
    ),
}


def fields_of(form: Format, rows: list[Row]) -> set[str]:
    """The canonical columns that a reader finds."""
    there = {name for row in rows for name in row}
    fields = {name for name in form.fields if name in there}
    return fields | {name for name in READINGS if form.readings and name in there}


def save(form_name: str, printed: Printed, folder: Path, stem: str) -> str:
    """Write a log (or a run folder) under this name; its path within `folder`."""
    form = FORMATS[form_name]
    text = form.write(printed) + "\n"
    path = folder / (stem + form.suffix)
    if form.is_run:
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.yaml").write_text(_run_config(printed), encoding="utf-8")
        (path / "signals.jsonl").write_text(text, encoding="utf-8")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path.name
