"""The bugs of hand-written loops that can be seen while they run: what each is, and what to do."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LoopFinding:
    """A bug that was found in the user's loop."""

    id: str
    meaning: str
    change: str
    line: str  # `file:line` of the user's code, "" where it has none
    step: int
    detail: str = ""  # what was seen, where it says more than `meaning`

    def __str__(self) -> str:
        where = f"{self.line}: " if self.line else ""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{where}{self.id}: {self.meaning}{detail}. {self.change}."


# What each means, and what to change.
LOOP_BUGS: dict[str, tuple[str, str]] = {
    "fake-not-detached": (
        "the backward pass of D's loss runs through G as well: it costs a backward pass of G and "
        "leaves gradients in G that make D's work easier",
        "Give D `fake.detach()` in D's part",
    ),
    "stale-d-gradients": (
        "D's gradients of an earlier backward pass, such as that of G's loss, are still there and "
        "are added to those of D's loss",
        "Call `zero_grad()` on D's optimizer before D's backward pass",
    ),
    "stale-g-gradients": (
        "G's gradients of an earlier backward pass are still there and are added to those of G's "
        "loss",
        "Call `zero_grad()` on G's optimizer before G's backward pass",
    ),
    "foreign-parameters": (
        "an optimizer owns parameters of the other network and updates them with its own loss",
        "Build each optimizer from its own network's `parameters()` alone",
    ),
    "unowned-parameters": (
        "trainable parameters of a network are not in its optimizer and have not changed",
        "Build the optimizer from the network's `parameters()`, after the network is complete",
    ),
    "wrong-optimizer": (
        "an optimizer steps in the other network's part: a second time, or with gradients that the "
        "other network's loss has left",
        "Step each optimizer once, in its own network's part",
    ),
    "eval-mode": (
        "a network is in eval mode where it is trained: BatchNorm and Dropout do not work as in "
        "training",
        "Call `train()` on it after every evaluation",
    ),
    "sigmoid-before-logits-loss": (
        "a loss that applies the sigmoid itself is given values that have been through one: its "
        "outputs stay between 0.5 and 0.73 and its gradients are small",
        "Remove the sigmoid, or use BCELoss",
    ),
    "half-skipped": (
        "D's optimizer steps with the gradient of one half of D's loss: on real images alone it "
        "learns to say real, on fake images alone to say fake",
        "Back-propagate both halves before D's optimizer steps, or neither",
    ),
    "never-updated": (
        "a network's parameters have not changed at all",
        "See that its loss is back-propagated and its optimizer steps, and owns its parameters",
    ),
    "no-gradient-to-generator": (
        "what is back-propagated in G's part does not depend on G",
        "Compute G's loss from G's output, without `detach()`, `.item()` or `no_grad` on the way",
    ),
    "adversarial-without-gradient": (
        "D is asked in G's part, but its answer does not reach G: the adversarial term is a "
        "constant for G",
        "Give D the output of G without `detach()`, and back-propagate the term itself, not its "
        "`.item()`",
    ),
    "g-helps-d": (
        "G's loss moves D's output on G's images the same way as D's own loss: G is trained to "
        "be found out",
        "Use the label for real images in G's loss",
    ),
    "same-noise": (
        "G is given the same input in every step",
        "Draw new noise, or the next batch, in every step",
    ),
    "batch-norm-split": (
        "D normalises real and fake images by their own batch statistics: it need not look at "
        "the images to tell them apart, and in G's part it sees fake ones only",
        "Take BatchNorm out of D (spectral normalisation or GroupNorm), or judge both in one batch",
    ),
}
