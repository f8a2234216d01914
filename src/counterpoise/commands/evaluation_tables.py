"""What `evaluate` says of a set and of two methods: tables, notes and figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from counterpoise.commands.console import print_metrics, print_table, say
from counterpoise.errors import UserError
from counterpoise.evaluate.comparison import FEW_IMAGES, compare
from counterpoise.evaluate.crops import CropSheet
from counterpoise.evaluate.measures import MEASURES, Measure
from counterpoise.evaluate.plane import front_of, plane_figure
from counterpoise.evaluate.scores import Scores
from counterpoise.plain_files import atomic_write
from counterpoise.plotting import rendered

DIFFERENCE_COLUMNS = ("metric", "A", "B", "B - A", "95 % interval", "B better in", "verdict")


def say_set(
    console: Console,
    name: str,
    scores: Sequence[Scores],
    measures: Sequence[Measure],
    scale: int,
    figures: Path | None,
    sheet: CropSheet,
) -> None:
    """A set's tables, its notes, and its figures where asked for."""
    count = len(scores[0].rows)
    title = f"{name}: {count} images, x{scale}, {scale} px border cropped"
    print_metrics(console, title, [(s.method, s.means()) for s in scores])
    for measure in measures:
        small = sum(value != value for value in scores[0].values(measure.name))
        if small:
            say(
                console,
                f"{measure.title}: without {small} of {count} images, which are under "
                f"{measure.least_px} pixels without their border, or flat",
            )
    front = front_of(scores)
    if front is not None:
        perception, on_front = front
        names = [s.method for s, on in zip(scores, on_front, strict=True) if on]
        title = MEASURES[perception].title
        say(console, f"not beaten in both RMSE and {title} (Pareto front): {', '.join(names)}")
    if figures is None:
        return
    sheet.save(figures / f"crops-{name}.png")
    say(console, f"crops: {figures / f'crops-{name}.png'}")
    if front is None:
        say(console, "no figure of the plane: it needs rmse and a perceptual metric")
        return
    try:
        figure = plane_figure(name, scores)
    except UserError as error:
        say(console, f"no figure of the plane: {error}")
        return
    path = figures / f"plane-{name}.png"
    with atomic_write(path) as temporary:
        temporary.write_bytes(rendered(figure, "png"))
    say(console, f"plane: {path}")


def say_differences(console: Console, a: Mapping[str, Scores], b: Mapping[str, Scores]) -> None:
    """Paired differences, set by set."""
    common = [name for name in a if name in b]
    if not common:
        raise UserError(
            f"--compare: no set in common ({', '.join(a) or 'none'}; {', '.join(b) or 'none'})"
        )
    for name in common:
        differences = compare(a[name], b[name])
        rows = []
        for d in differences:
            interval, digits = d.difference.interval, d.measure.digits + 1
            low_high = "-"
            if interval is not None:
                low_high = f"{interval.low:+.{digits}f} to {interval.high:+.{digits}f}"
            rows.append(
                (
                    d.measure.title,
                    d.measure.text(d.mean_a),
                    d.measure.text(d.mean_b),
                    f"{d.difference.mean:+.{digits}f}",
                    low_high,
                    f"{d.b_wins} of {d.difference.count}",
                    d.verdict,
                )
            )
        print_table(console, f"{name or 'all images'}: B against A", DIFFERENCE_COLUMNS, rows)
        say(console, f"A: {a[name].method}")
        say(console, f"B: {b[name].method}")
        only = len(dict(a[name].rows).keys() ^ dict(b[name].rows).keys())
        if only:
            say(console, f"{only} images are only in one of them, and left out")
        count = max((d.difference.count for d in differences), default=0)
        if 1 < count < FEW_IMAGES:
            say(console, f"Of {count} images, an interval by resampling is rather too narrow.")
