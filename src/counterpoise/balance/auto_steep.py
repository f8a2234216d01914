"""What `auto` does about a D whose advice is of little use to G: too steep, or near chance."""

from dataclasses import dataclass, field

from counterpoise.balance.saved import Memory

# Mean share of pairs that D ranks rightly from which on it is smoothed, and under which no longer.
LEADS, FOLLOWED = 0.9, 0.8
# From here on a further step of D would only let it lead more; what is beyond counts as its lead.
CERTAIN = 0.95
# Under this D is near chance; where it is there for so many more steps than it is not, it is not
# only young, and a further step of it shows G more.
CHANCE, PATIENCE_STEPS = 0.75, 100


@dataclass
class SteepDiscriminator(Memory):
    """Decides on R1 in D's loss, and on how often D is trained.

    A D that leads after few steps is steep: it parts the training images from the fake ones by
    gradients that say little of where to go. R1 makes it smooth, and a smooth D is the better for
    being trained more (Arjovsky et al. 2017 train theirs to the end for that reason). A D that
    stays near chance is trained more too, without R1: there its advice is noise. More only where G
    has no other loss to learn from: super-resolution with a content loss came out worse for it.
    Source: this project (docs/experiments.md); R1: Mescheder et al. 2018, section 4.1; several
    steps of D: Goodfellow et al. 2014, algorithm 1.
    """

    NEWER = frozenset({"d_steps"})

    r1: float
    most_d_steps: int
    d_steps: int = field(default=1, init=False)
    _smooths: bool = field(default=False, init=False)
    _steps_near_chance: int = field(default=0, init=False)

    @property
    def r1_weight(self) -> float:
        """Gamma of R1 in D's loss."""
        return self.r1 if self._smooths else 0.0

    def observe(self, ranking: float | None, *, may_smooth: bool, may_repeat: bool) -> str:
        """Decide, by the mean share of pairs that D ranks rightly (None: not known yet), and by
        what may be asked for: R1, further steps. The reason where anything is."""
        self.d_steps = 1
        if ranking is None or not may_smooth or not self.r1:
            self._smooths = False
        elif ranking > LEADS:
            self._smooths = True
        elif ranking < FOLLOWED:
            self._smooths = False
        if ranking is None:
            return ""
        near_chance = ranking < CHANCE
        count = self._steps_near_chance + (1 if near_chance else -1)
        self._steps_near_chance = min(max(count, 0), 2 * PATIENCE_STEPS)
        weak = near_chance and self._steps_near_chance > PATIENCE_STEPS
        if may_repeat and (weak or (self._smooths and ranking < CERTAIN)):
            self.d_steps = self.most_d_steps
        asked = [f"R1 with a gamma of {self.r1:g}"] if self._smooths else []
        if self.d_steps > 1:
            asked.append(f"{self.d_steps} steps of D")
        return f"D ranks {ranking:.2f} of the pairs rightly: {', '.join(asked)}" if asked else ""
