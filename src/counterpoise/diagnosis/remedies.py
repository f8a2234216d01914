"""What findings are called, mean and advise: `findings.toml` and `remedies.toml`, joined by name.

The order of remedies has its one home in the second.
"""

from typing import Any

from counterpoise.diagnosis.finding import Judge, Remedy, Rule
from counterpoise.registry import Registry, read_table

_ROWS = read_table("counterpoise.diagnosis", "remedies.toml")
REMEDIES: Registry[Remedy] = Registry(
    "remedy", *((name, Remedy(**row)) for name, row in _ROWS.items())
)
_FINDINGS = Registry("finding", *read_table("counterpoise.diagnosis", "findings.toml").items())


def described(name: str, judge: Judge | None, **row: Any) -> Rule:
    """The rule that answers for a finding, with what the table says of it (or `row`, of the same
    fields); `remedies` are names of `REMEDIES`."""
    row = row or _FINDINGS[name]
    remedies = tuple(REMEDIES[each] for each in row["remedies"])
    return Rule(name, judge, **row | {"remedies": remedies})
