"""Every finding's meaning in words, what to change, and where that is from.

The rules (`rules.py`) say whether and since when; this table says what it means. `needs` is what a
log must have for the finding to be judged at all.
"""

from dataclasses import dataclass

from counterpoise.diagnosis.finding import Remedy
from counterpoise.diagnosis.remedies import (
    ARJOVSKY_BOTTOU,
    AUTO,
    ENHANCENET,
    ESSER,
    GANHACKS,
    GOODFELLOW,
    GOODFELLOW_TUTORIAL,
    KARRAS_ADA,
    LABEL_SMOOTHING,
    LOOK,
    LOWER_D_RATE,
    LSGAN,
    MESCHEDER,
    R1,
    SAME_BATCH,
    SPECTRAL,
    TERM_WEIGHTS,
    TRAIN_D_EVERY_STEP,
)
from counterpoise.registry import Registry


@dataclass(frozen=True)
class Entry:
    """What a finding means."""

    title: str
    meaning: str
    needs: tuple[str, ...]
    remedies: tuple[Remedy, ...]
    source: str


CATALOGUE: Registry[Entry] = Registry(
    "finding",
    (
        "non-finite",
        Entry(
            "A value is NaN or infinite",
            "A loss or output is no longer a number, so from there on every update destroys the "
            "weights. The training has to go back to a checkpoint from before that step.",
            ("any loss or output",),
            (
                Remedy("Go back to the last checkpoint before it and lower both learning rates."),
                Remedy(
                    "Compute the losses from logits, in float32 also under mixed precision.",
                    code="binary_cross_entropy_with_logits(logits.float(), labels)",
                ),
                Remedy("Add an epsilon under every square root and logarithm of your losses."),
                Remedy(
                    "Clip the gradients of both networks.",
                    code="torch.nn.utils.clip_grad_norm_(d.parameters(), 1.0)",
                ),
            ),
            GOODFELLOW_TUTORIAL,
        ),
    ),
    (
        "divergence",
        Entry(
            "The training diverges",
            "Losses, outputs or gradients grow without settling: the updates amplify the error "
            "instead of correcting it. Images of this training will not get better again.",
            ("a loss, an output or a gradient norm",),
            (
                Remedy("Go back to a checkpoint from before the growth began."),
                Remedy("Lower both learning rates by 3 to 10 times."),
                R1,
                SPECTRAL,
                AUTO,
            ),
            MESCHEDER,
        ),
    ),
    (
        "d-saturated",
        Entry(
            "D is certain about nearly every image",
            "D tells real from fake with next to no error, so what G learns from it no longer says "
            "in which direction to improve. A short phase of this is normal; staying there is not.",
            ("D's outputs, accuracy, AUC, or its loss with a known objective",),
            (
                LOWER_D_RATE,
                R1,
                SAME_BATCH,
                SPECTRAL,
                TERM_WEIGHTS,
                LABEL_SMOOTHING,
                AUTO,
            ),
            ARJOVSKY_BOTTOU,
        ),
    ),
    (
        "d-frozen",
        Entry(
            "D is not trained in many steps",
            "D(G(z)) is the same number before and after D's update, on the same fake images: D "
            "did not change in between, so it was not trained in that step. While D stands still, "
            "G works against an opponent that does not answer.",
            ("D(G(z)) before and after D's update, or whether D was updated",),
            (TRAIN_D_EVERY_STEP, TERM_WEIGHTS, LOWER_D_RATE, R1, AUTO),
            ENHANCENET,
        ),
    ),
    (
        "d-restarts",
        Entry(
            "D is trained in bursts",
            "A gate stops D when it is good and lets it go when G has caught up, so D alternates "
            "between standing still and catching up at full rate. The two networks swing, and a "
            "log line shows whichever phase it happened to fall into.",
            ("D(G(z)) before and after D's update, or whether D was updated",),
            (TRAIN_D_EVERY_STEP, AUTO, LOWER_D_RATE),
            GANHACKS,
        ),
    ),
    (
        "g-vanishing-gradient",
        Entry(
            "G's adversarial gradient has vanished",
            "Next to nothing of the adversarial loss reaches G, so it does not learn from D at "
            "all, whatever the loss is. Waiting rarely helps: D is so sure, or so broken, that its "
            "output no longer depends on the image.",
            ("the gradient of G's adversarial term, or D(G(z)) under a loss that saturates",),
            (
                Remedy(
                    "Use a loss that does not saturate where D is sure: BCE on logits with the "
                    "non-saturating G loss, or hinge.",
                    config="loss.adversarial.form=non-saturating",
                    code="loss_g = softplus(-d(fake)).mean()  # D without its sigmoid",
                    source=GOODFELLOW,
                ),
                LOWER_D_RATE,
                R1,
                Remedy(
                    "Add noise to D's inputs, real and fake.",
                    config="balance.policy=instance-noise",
                    source=ARJOVSKY_BOTTOU,
                ),
            ),
            ARJOVSKY_BOTTOU,
        ),
    ),
    (
        "lsgan-on-sigmoid",
        Entry(
            "Least squares behind a sigmoid",
            "D's output goes through a sigmoid before it is squared, and where the sigmoid is flat "
            "the product has no gradient. Once D(G(z)) is near 0 or 1, neither network is told to "
            "leave.",
            ("D's outputs, and losses that show the objective",),
            (
                Remedy(
                    "Take the sigmoid out of D and apply least squares to its raw scores.",
                    config="loss.adversarial.form=lsgan",
                    code="score = d(image)  # no sigmoid; loss = (score - target).square().mean()",
                    source=LSGAN,
                ),
                Remedy(
                    "Or go back to BCE, on logits: its G loss keeps its gradient where D is sure.",
                    config="loss.adversarial.form=non-saturating",
                    code="loss_g = binary_cross_entropy_with_logits(d(fake), ones)",
                    source=GOODFELLOW,
                ),
                LOWER_D_RATE,
            ),
            LSGAN,
        ),
    ),
    (
        "d-too-weak",
        Entry(
            "D stays at chance",
            "D has not learned to tell real from fake, so its gradient to G is noise. It may be "
            "young, too weak, or broken by too large steps; these need opposite answers.",
            ("D's outputs, accuracy or AUC, or its loss with a known objective",),
            (
                Remedy(
                    "Check that D is trained at all: its optimizer has its parameters, and its "
                    "backward and step are reached.",
                    code="counterpoise.check_loop(balance)",
                ),
                Remedy(
                    "Try D alone for some hundred steps, then a lower learning rate before a "
                    "higher one: too large steps also end at chance.",
                    config="optimizer.d.learning_rate=1e-4",
                ),
                Remedy("Normalise D (instance or spectral).", config="discriminator.norm=instance"),
                Remedy("Give D more capacity.", config="discriminator.width=32"),
                AUTO,
            ),
            GOODFELLOW_TUTORIAL,
        ),
    ),
    (
        "oscillation",
        Entry(
            "The lead swings back and forth",
            "D and G take turns at winning by a lot, and the swings do not get smaller. Each "
            "undoes what the other has learned, so more steps of the same do not settle it.",
            ("D's outputs, accuracy or AUC, or its loss with a known objective",),
            (
                Remedy(
                    "Lower both learning rates, and Adam's first beta to 0.5 or 0.",
                    config="optimizer.d.betas=[0.5, 0.999]",
                    source=MESCHEDER,
                ),
                R1,
                Remedy(
                    "Evaluate an average of G's weights: it is steadier than G itself.",
                    config="train.ema_decay=0.999",
                ),
                Remedy("Use a larger batch."),
                AUTO,
            ),
            MESCHEDER,
        ),
    ),
    (
        "mode-collapse",
        Entry(
            "G's outputs have become alike",
            "The outputs of a batch differ far less from each other than real images do: G has "
            "settled on a few answers that pass. Losses do not show this, and it rarely heals.",
            ("the diversity of outputs, beside that of real images",),
            (
                Remedy("Go back to a checkpoint from before, and lower G's learning rate."),
                Remedy(
                    "Let D see differences within a batch (minibatch standard deviation).",
                    source="Karras et al. 2018, section 3 (arXiv 1710.10196)",
                ),
                Remedy(
                    "Compare real and fake in pairs with R1 and R2.",
                    config="loss.adversarial.form=relativistic-paired",
                    source="Huang et al. 2024 (arXiv 2501.05441)",
                ),
                R1,
                Remedy("Use a larger batch."),
            ),
            GOODFELLOW_TUTORIAL,
        ),
    ),
    (
        "d-memorises",
        Entry(
            "D has learned its training images by heart",
            "D scores real images that it has not trained on like fakes, so it recognises its "
            "training set instead of judging realism. G is then pushed towards copies of it.",
            ("D's output on held-out real images",),
            (
                Remedy(
                    "Augment what D sees, real and fake alike, as much as it takes.",
                    config="balance.policy=ada",
                    source=KARRAS_ADA,
                ),
                Remedy("Use more training images, or flips, rotations and crops of them."),
                Remedy(
                    "Pull D's outputs to their moving averages (LeCam).",
                    config="balance.policy=lecam",
                    source="Tseng et al. 2021 (arXiv 2104.03310)",
                ),
                Remedy("Use a smaller D.", config="discriminator.width=16"),
                R1,
            ),
            KARRAS_ADA,
        ),
    ),
    (
        "adversarial-term-drowned",
        Entry(
            "The adversarial term is drowned by the others",
            "Nearly all of the gradient that reaches G comes from its other losses, so D's opinion "
            "has no say in what G makes. D will win, and G is trained as if there were no D.",
            ("the gradients of G's terms at its output",),
            (
                TERM_WEIGHTS,
                Remedy(
                    "Raise the adversarial weight, or lower that of the other terms.",
                    config="loss.adversarial.weight=1",
                ),
                Remedy(
                    "Bring the features of a perceptual loss to a mean of one, as the paper does.",
                    config="features.normalisation=dataset",
                    source="Sajjadi et al. 2017, section 5.3 (arXiv 1612.07919)",
                ),
            ),
            ESSER,
        ),
    ),
    (
        "content-term-drowned",
        Entry(
            "The content terms are drowned by the adversarial one",
            "Nearly all of the gradient that reaches G is adversarial, so nothing holds its output "
            "to the input. Expect artefacts and colours that drift.",
            ("the gradients of G's terms at its output",),
            (
                TERM_WEIGHTS,
                Remedy("Lower the adversarial weight.", config="loss.adversarial.weight=0.01"),
            ),
            ESSER,
        ),
    ),
    (
        "loss-inconsistent",
        Entry(
            "Printed losses do not belong to the printed outputs",
            "These losses cannot come from these outputs of D, under any spread over the batch. "
            "They are of other steps, averaged, scaled, or have other terms in them: do not "
            "compare the columns line by line.",
            ("D's outputs and losses of an objective that is known",),
            (
                Remedy(
                    "Print losses and outputs of the same step, or average both over the same "
                    "steps, and each term of G's loss apart.",
                    code='print(f"A {loss_adversarial:.4f}  P {loss_perceptual:.4f}")',
                ),
            ),
            "Jensen's inequality",
        ),
    ),
    (
        "trivially-separable",
        Entry(
            "D wins on something that G cannot change",
            "D separates real from fake by a trace of how they were made, not by what they show. "
            "No balance of losses mends that: both must go through the same pipeline.",
            ("D's AUC with disturbed inputs (8-bit fakes, hidden borders), or the fakes' range",),
            (
                Remedy(
                    "Treat both alike: the same range, rounding, padding, resize and codec.",
                    code="fake = fake.clamp(0, 1)  # and reals through the same resize and crop",
                ),
                Remedy(
                    "Blur the trace for D with noise on its inputs.",
                    config="balance.policy=instance-noise",
                    source=ARJOVSKY_BOTTOU,
                ),
            ),
            ARJOVSKY_BOTTOU,
        ),
    ),
    (
        "inert-rule",
        Entry(
            "A balance rule is configured and never acts",
            "The rule's condition was not met in any step, so this training is one without it. "
            "That is well if it was meant for bad times only.",
            ("the policy of a run, and its actions",),
            (
                Remedy(
                    "Set its threshold within the range that the signal really has, or take it out."
                ),
                AUTO,
            ),
            "Measured: adaptive_d of a public trainer skips 49 steps at its defaults, then never",
        ),
    ),
    (
        "not-enough-evidence",
        Entry(
            "This log does not say enough",
            "There are too few lines, or too little about D in them, to call this training sick or "
            "healthy. Silence is not health.",
            (),
            (
                Remedy(
                    "Print D's mean output on real and fake images with every line, before and "
                    "after D's update.",
                    code="D_x = d(real).mean().item(); D_G_z = d(fake).mean().item()",
                ),
                Remedy("Say what D's loss is: --objective bce, lsgan, hinge or wgan."),
                Remedy("Let it run on, and judge again after some hundred steps."),
            ),
            "",
        ),
    ),
    (
        "healthy",
        Entry(
            "Nothing is wrong that this log can show",
            "D leads by a little and both networks go on learning, which is what a GAN in balance "
            "looks like. Whether the images are good, only images and image metrics tell.",
            (),
            (LOOK,),
            GOODFELLOW_TUTORIAL,
        ),
    ),
)
