"""Tasks, stressors, strategies and plans of the gauntlet, from their tables."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from counterpoise.statistics import student_mean
from counterpoise.study.analysis import Grid, paired, strategy_results
from counterpoise.study.conditions import STRATEGIES, STRESSORS, Strategy
from counterpoise.study.plan import AUTO_TUNED_ON, PLANS, cells_of
from counterpoise.study.report import estimate_text, share_text
from counterpoise.study.results import plan_of, read_results
from counterpoise.study.tasks import TASKS
from generated import ROOT, Pages
from generated.markdown import code, table, with_links

KINDS = {
    "policy": "A policy with its defaults; ramps that are meant for long trainings are shortened.",
    "form": "An objective, with its usual penalties or normalisation of D.",
    "baseline": "What people copy.",
    "change": "One change to the question's loop, for the task `seed`.",
}
# The committed rows that answer the question.
QUESTION_STUDY = ROOT / "studies" / "results" / "seed"
QUESTION_COLUMNS = ("change", "D saturated", "D's accuracy", "AUC", "texture against the loop")
SHOWN_SETTINGS = ("steps", "batch_size", "g_learning_rate", "d_learning_rate", "d_width", "d_norm")


def pages() -> Pages:
    """One page with all that a study is made of."""
    parts = [
        "# Studies",
        "What `counterpoise study` plays: every combination of a plan's tasks, stressors, "
        "strategies and seeds that changes anything. This page is made from the tables that the "
        "study reads; [the gauntlet](../gauntlet.md) says how a result is judged, and "
        "[Run a balance study](../how-to/study.md) how to run one.",
        "## Plans",
        table(
            ("plan", "tasks", "stressors", "strategies", "seeds", "trainings"),
            [
                (
                    code(name),
                    ", ".join(plan.tasks),
                    str(len(plan.stressors)),
                    str(len(plan.strategies)),
                    str(len(plan.seeds)),
                    f"{len(cells_of(plan)):,}",
                )
                for name, plan in PLANS.items()
            ],
        ),
        "## Tasks",
        table(
            ("task", "what", "score", "a training begins from"),
            [
                (
                    code(name),
                    task.description,
                    f"{task.score_name} ({'higher' if task.higher_is_better else 'lower'} is "
                    "better)",
                    ", ".join(
                        code(f"{key}={getattr(task.setting, key)}") for key in SHOWN_SETTINGS
                    ),
                )
                for name, task in TASKS.items()
            ],
        ),
        "## Stressors",
        "A stressor changes the setting after the strategy's own changes, so it hits all alike.",
        table(
            ("stressor", "what it changes", "on the tasks"),
            [
                (code(name), stressor.description, ", ".join(sorted(stressor.tasks)))
                for name, stressor in STRESSORS.items()
            ],
        ),
        "## Strategies",
    ]
    for kind, meaning in KINDS.items():
        of_kind = [(name, s) for name, s in STRATEGIES.items() if s.kind == kind]
        parts += [
            f"### {kind.capitalize()}",
            meaning,
            table(
                ("strategy", "what", "what it sets"),
                [(code(n), with_links(s.description), _values(s)) for n, s in of_kind],
            ),
        ]
    pairs = sorted(AUTO_TUNED_ON)
    parts += [
        "## What `auto` was tuned on",
        "Every table of a report has a column for all other pairs.",
        table(("task", "stressor"), [tuple(map(code, pair)) for pair in pairs]),
    ]
    return {"reference/studies.md": "\n\n".join(parts) + "\n"}


def question_changes() -> str:
    """What each change to the question's loop does, from the study's committed rows."""
    grid = Grid(plan_of(QUESTION_STUDY), read_results(QUESTION_STUDY))
    saturated = {row.name: row.saturated for row in strategy_results(grid)}

    def shares(name: str) -> list[str]:
        # Intervals of few values can reach further than a share can be.
        means = map(student_mean, grid.values(lambda row: row.d_last_quarter.get(name))[0])
        return [
            f"{mean.mean:.2f} ({max(0, mean.interval.low):.2f} to {min(1, mean.interval.high):.2f})"
            for mean in means
        ]

    rows = [
        (
            STRATEGIES[name].description,
            share_text(saturated[name]),
            *measured,
            estimate_text(paired(grid, name, "seed-loop", grid.quality), 2, signed=True),
        )
        for name, *measured in zip(grid.strategies, shares("accuracy"), shares("auc"), strict=True)
    ]
    return table(QUESTION_COLUMNS, rows)


def _values(strategy: Strategy) -> str:
    values = asdict(strategy)["values"]
    return ", ".join(code(item) for item in _items(values)) or "nothing"


def _items(values: Mapping[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in values.items() if value not in ({}, ())]
