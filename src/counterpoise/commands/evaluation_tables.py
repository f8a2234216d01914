"""What `evaluate` says of a set and of two methods: tables, notes and figures."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from counterpoise.commands.console import metrics_table, print_table, say
from counterpoise.errors import UserError
from counterpoise.evaluate.comparison import FEW_IMAGES, compare
from counterpoise.evaluate.crops import CropSheet
from counterpoise.evaluate.measures import MEASURES, Measure
from counterpoise.evaluate.plane import front_of, plane_figure
from counterpoise.evaluate.published import PublishedPoint, published_points
from counterpoise.evaluate.scores import Scores
from counterpoise.plain_files import atomic_write
from counterpoise.plotting import rendered


def say_set(
    console: Console,
    name: str,
    scores: list[Scores],
    measures: Sequence[Measure],
    scale: int,
    figures: Path | None,
    sheet: CropSheet,
) -> None:
    """A set's tables, its notes, and its figures where asked for."""
    count = len(scores[0].rows)
    title = f"{name}: {count} images, x{scale}, {scale} px border cropped"
    print_table(console, metrics_table(title, [(s.method, s.means()) for s in scores]))
    for measure in measures:
        small = sum(value != value for value in scores[0].values(measure.name))
        if small:
            say(
                console,
                f"{measure.title}: without {small} of {count} images, which are under "
                f"{measure.least_px} pixels without their border{measure.nor}",
            )
    published, note = published_points(name, count, scale)
    front = front_of(scores)
    if front is not None:
        perception, on_front = front
        names = [s.method for s, on in zip(scores, on_front, strict=True) if on]
        title = MEASURES[perception].title
        say(console, f"not beaten in both RMSE and {title} (Pareto front): {', '.join(names)}")
    if published:
        print_table(console, _published_table(name, scores, published))
        for number, source in enumerate(_sources(published), start=1):
            say(console, f"{number}: {source}")
    if note:
        say(console, note)
    if figures is not None:
        sheet.save(figures / f"crops-{name}.png")
        say(console, f"crops: {figures / f'crops-{name}.png'}")
        _save_plane(console, figures / f"plane-{name}.png", name, scores, published)


def _save_plane(
    console: Console,
    path: Path,
    name: str,
    scores: list[Scores],
    published: Sequence[PublishedPoint],
) -> None:
    if front_of(scores) is None:
        say(console, "no figure of the plane: it needs rmse and a perceptual metric")
        return
    try:
        figure = plane_figure(name, scores, published)
    except UserError as error:
        say(console, f"no figure of the plane: {error}")
        return
    with atomic_write(path) as temporary:
        temporary.write_bytes(rendered(figure, "png"))
    say(console, f"plane: {path}")


def _published_table(
    name: str, scores: Sequence[Scores], published: Sequence[PublishedPoint]
) -> Table:
    """The published points, with what was measured here above them."""
    table = Table(title=Text(f"{name}: published points beside"), title_justify="left")
    table.add_column("method")
    for heading in ("PSNR (Y)", "LPIPS", "PI"):
        table.add_column(heading, justify="right")
    table.add_column("source")

    sources = _sources(published)

    def text(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    for one in scores:
        means = one.means()
        cells = text(means.get("psnr_y"), 2), text(means.get("lpips"), 4), "-"
        table.add_row(Text(one.method), *cells, "here")
    table.add_section()
    for point in published:
        cells = (
            text(point.psnr_y, 2),
            text(point.lpips, 4),
            text(point.perceptual_index, 3),
        )
        table.add_row(point.method, *cells, str(sources.index(point.source) + 1))
    return table


def _sources(published: Sequence[PublishedPoint]) -> list[str]:
    return list(dict.fromkeys(point.source for point in published))


def say_differences(console: Console, a: dict[str, Scores], b: dict[str, Scores]) -> None:
    """Paired differences, set by set."""
    common = [name for name in a if name in b]
    if not common:
        raise UserError(
            f"--compare: no set in common ({', '.join(a) or 'none'}; {', '.join(b) or 'none'})"
        )
    for name in common:
        scores_a, scores_b = a[name], b[name]
        differences = compare(scores_a, scores_b)
        count = max((d.difference.count for d in differences), default=0)
        table = Table(title=Text(f"{name or 'all images'}: B against A"), title_justify="left")
        table.add_column("metric")
        headings = ("A", "B", "B - A", "95 % interval", "B better in")
        for heading in headings:
            table.add_column(heading, justify="right")
        table.add_column("verdict")
        for d in differences:
            interval, digits = d.difference.interval, d.measure.digits + 1
            low_high = (
                "-"
                if interval is None
                else f"{interval.low:+.{digits}f} to {interval.high:+.{digits}f}"
            )
            table.add_row(
                d.measure.title,
                d.measure.text(d.mean_a),
                d.measure.text(d.mean_b),
                f"{d.difference.mean:+.{digits}f}",
                low_high,
                f"{d.b_wins} of {d.difference.count}",
                d.verdict,
            )
        print_table(console, table)
        say(console, f"A: {scores_a.method}")
        say(console, f"B: {scores_b.method}")
        only = len(dict(scores_a.rows).keys() ^ dict(scores_b.rows).keys())
        if only:
            say(console, f"{only} images are only in one of them, and left out")
        if 1 < count < FEW_IMAGES:
            say(console, f"Of {count} images, an interval by resampling is rather too narrow.")
