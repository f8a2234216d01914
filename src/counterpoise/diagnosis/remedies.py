"""Remedies that several findings share, and the sources that they are from."""

from counterpoise.diagnosis.finding import Remedy

GOODFELLOW_TUTORIAL = "Goodfellow 2016, NIPS tutorial on GANs (arXiv 1701.00160)"
GOODFELLOW = "Goodfellow et al. 2014, section 3 (arXiv 1406.2661)"
ARJOVSKY_BOTTOU = "Arjovsky and Bottou 2017, theorem 2.4 (arXiv 1701.04862)"
MESCHEDER = "Mescheder et al. 2018, section 4 (arXiv 1801.04406)"
MIYATO = "Miyato et al. 2018 (arXiv 1802.05957)"
LSGAN = "Mao et al. 2017 (arXiv 1611.04076)"
HAZIMEH = "Hazimeh and Ponomareva 2023 (arXiv 2302.00089)"
KARRAS_ADA = "Karras et al. 2020 (arXiv 2006.06676)"
ENHANCENET = "Sajjadi et al. 2017, section 4.2.4 (arXiv 1612.07919)"
ESSER = "Esser et al. 2021, equation 7 (arXiv 2012.09841)"
GANHACKS = "Chintala et al. 2016, How to train a GAN, tips 10 and 11"

AUTO = Remedy(
    "Let `auto` smooth D where it leads (R1, and 0.9 for real images).",
    config="balance.policy=auto",
    code='balance = counterpoise.Balance(g, d, g_optimizer, d_optimizer, policy="auto")',
)
CHECK_LOOP = Remedy(
    "Check that the loop trains D at all: its optimizer owns its parameters, backward() and step() "
    "are reached, its learning rate is not 0.",
    code="balance = counterpoise.Balance(g, d, g_optimizer, d_optimizer, check=True)",
)
TRAIN_D_EVERY_STEP = Remedy(
    "Train D in every step and soften it instead of stopping it: take the gate out, and ask D for "
    "0.9 on real images.",
    config="balance.policy=none",
    code="label_real.fill_(0.9); (loss_d_real + loss_d_fake).backward(); d_optimizer.step()",
    source=GANHACKS,
)
GO_BACK = Remedy("Go back to a checkpoint from before it, and lower both learning rates.")
LOWER_D_RATE = Remedy(
    "Lower D's learning rate, by 2 to 4 times.",
    config="optimizer.d.learning_rate=2.5e-5",
    code="d_optimizer = Adam(d.parameters(), lr=g_learning_rate / 4)",
    source=HAZIMEH,
)
R1 = Remedy(
    "Penalise D's gradient on real images (R1); try gamma 0.1, 1 and 10.",
    config="loss.adversarial.r1=1",
    code="loss_d += gamma / 2 * grad(d(real).sum(), real, create_graph=True)[0].square()"
    ".flatten(1).sum(1).mean()",
    source=MESCHEDER,
)
SPECTRAL = Remedy(
    "Normalise D's layers spectrally.",
    config="discriminator.norm=spectral",
    code="torch.nn.utils.parametrizations.spectral_norm(layer)  # every layer of D",
    source=MIYATO,
)
LABEL_SMOOTHING = Remedy(
    "Ask D for 0.9 on real images instead of 1 (one-sided label smoothing).",
    code="label_real = torch.full_like(output, 0.9)",
    source="Salimans et al. 2016, section 3.4 (arXiv 1606.03498)",
)
SAME_BATCH = Remedy(
    "If D has batch normalisation, feed it real and fake images in one batch, or use instance or "
    "spectral normalisation: apart, their batch statistics alone give them away.",
    config="discriminator.norm=instance",
    code="real_logits, fake_logits = d(torch.cat([real, fake.detach()])).chunk(2)",
)
INSTANCE_NOISE = Remedy(
    "Add noise to D's inputs, real and fake.",
    config="balance.policy=instance-noise",
    source=ARJOVSKY_BOTTOU,
)
NON_SATURATING = Remedy(
    "Use BCE on logits with the non-saturating G loss: it keeps its gradient where D is sure.",
    config="loss.adversarial.form=non-saturating",
    code="loss_g = softplus(-d(fake)).mean()  # D without its sigmoid",
    source=GOODFELLOW,
)
TERM_WEIGHTS = Remedy(
    "Compare the gradients of G's terms at its output, not their values, and weigh the adversarial "
    "one so that it is a tenth to a half of the whole.",
    config="balance.policy=gradient-balance",
    source=ESSER,
)
LOOK = Remedy(
    "Look at samples and at a perceptual metric before you change anything: losses alone do not "
    "tell convergence from collapse.",
    source=GOODFELLOW_TUTORIAL,
)
LARGER_BATCH = Remedy("Use a larger batch.")
