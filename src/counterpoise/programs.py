"""What is known of the programs whose logs people post: `programs.toml`, a row each.

A program's loss says what its numbers may mean before any of them is looked at, and what is normal
there. The reader of a log names the program (`Trace.program`), or whoever asks does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from counterpoise.registry import Registry, read_table


@dataclass(frozen=True)
class Program:
    """One program: its losses, and how it prints them."""

    name: str
    title: str = ""
    objectives: tuple[str, ...] = ()  # names of `objectives.OBJECTIVES`, likeliest first
    normal: str = ""  # what is normal there: a sentence or two with numbers
    source: str = ""  # where that was read: a public repository and its files
    sign: str = ""  # what its logs are known by: a pattern of `logs.formats`
    # Plain names that mean something else here than elsewhere, or nothing ("").
    names: Mapping[str, str] = field(default_factory=dict)
    advice: str = ""  # where to look, if the log has no losses
    discriminators: int = 1  # how many D's are summed in the loss of D, and in G's
    d_loss_terms: int = 2  # of which `d_loss` is the sum: TimeGAN's D judges two kinds of fakes
    d_loss_is_mean: bool = False  # `d_loss` is the mean of D's two halves
    d_starts_late: bool = False  # G goes ahead alone
    g_has_more: bool = False  # G's loss is weighted, or has other terms in it
    chance_is_normal: bool = False  # D near chance all along is how a good training looks
    swings_are_normal: bool = False  # the lead swings from line to line
    unfit: Sequence[str] = ()  # remedies, by name, that its networks have already or no use for


UNKNOWN_PROGRAM = Program("")
PROGRAMS: Registry[Program] = Registry(
    "program",
    *(
        (name, Program(name, **row | {"objectives": tuple(row["objectives"])}))
        for name, row in read_table("counterpoise", "programs.toml").items()
    ),
)
