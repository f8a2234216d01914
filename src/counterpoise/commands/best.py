"""`best` behind the command line."""

import json
from pathlib import Path

from rich.console import Console

from counterpoise.commands.console import print_metrics, say
from counterpoise.commands.device import pick_device
from counterpoise.models.weights import save_generator
from counterpoise.outlook import WORDS
from counterpoise.plain_files import atomic_write
from counterpoise.run_folder import RunFolder
from counterpoise.training.ranking import Choice, choose


def run(path: Path, data: Path | None, as_json: bool, device: str, console: Console) -> None:
    """Rank a run's checkpoints; write `best.json` and the recommended weights into its folder."""
    choice = choose(path, data, pick_device(device))
    folder = RunFolder(path)
    best = choice.recommended
    facts = {"trained": f"stage {choice.stage}, step {best.step}, {best.weights}"}
    if best.licence:
        facts["licence"] = best.licence
    save_generator(folder.best_generator, best.generator, facts)
    result = choice.to_json()
    with atomic_write(folder.best) as temporary:
        temporary.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if as_json:
        print(json.dumps(result, allow_nan=False))  # noqa: T201
        return
    _print_candidates(choice, console)
    for note in choice.notes:
        say(console, f"note: {note}")
    say(console, f"Recommended: {best.name}, since {choice.why()}.")
    say(console, f"{WORDS[choice.outlook.more_training_pays]}: {choice.outlook.reason}.")
    say(console, f"weights      {folder.best_generator}")
    say(console, f"all of it    {folder.best}")


def _print_candidates(choice: Choice, console: Console) -> None:
    ranking = choice.ranking
    title = f"{choice.run}: {choice.image_count} images ({choice.images})"
    rows, distances = [], []
    for place, index in enumerate(ranking.order, start=1):
        rows.append((f"{place}. {choice.candidates[index].name}", choice.scores[index].means()))
        mark = " front" if ranking.on_front[index] else ""
        distances.append(f"{ranking.distances[index]:.3f}{mark}")
    for scores in choice.references:
        rows.append((scores.method, scores.means()))
        distances.append("-")
    print_metrics(console, title, rows, ("from ideal", distances))
