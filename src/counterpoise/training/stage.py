"""One stage of a training: its losses and optimizers, and how a turn of its game is played.

The networks are not wrapped in DistributedDataParallel: an adversarial step runs D several times
per backward pass, may back-propagate one half of its loss alone, differentiates twice for the
penalties and sends gradients through a D that must not collect any. DDP's hooks assume none of
that. Gradients are averaged over the processes explicitly instead, once per update.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from counterpoise.actuators.inputs import InputChange
from counterpoise.actuators.snapshot import Snapshot
from counterpoise.game.game import Game, Tell
from counterpoise.game.players import Player
from counterpoise.game.sensing import Sensors
from counterpoise.game.turn import ADVERSARIAL, Turn
from counterpoise.losses.generator_loss import GeneratorLoss
from counterpoise.losses.penalties import gradient_penalty, r1_penalty
from counterpoise.seeding import generator_for_step
from counterpoise.sensors.gradients import output_gradients
from counterpoise.training.fabric import Fabric
from counterpoise.training.plan import Stage
from counterpoise.training.setup import Batches, Parts, adam, chosen


class StageTraining:
    """Plays the turns of one stage. Fakes are made once: D sees them alike in its part and in G's.

    `tell` says what a person must know.
    """

    def __init__(self, parts: Parts, stage: Stage, batches: Batches, tell: Tell) -> None:
        self.parts, self.stage, self.batches, self._tell = parts, stage, batches, tell
        self.fabric, networks = parts.fabric, parts.networks
        self.g, self.d = networks.g, networks.d if stage.is_adversarial else None
        fused = chosen(parts.config.train.fused_adam, self.fabric.device)
        self.g_optimizer = adam(self.g.parameters(), stage.g_adam, fused=fused)
        self.d_optimizer = parts.d_optimizer
        self.form = parts.form
        self._g_loss = GeneratorLoss(stage.loss, self.form, networks.passes.run_features)
        config, players = parts.config, []
        if self.d is not None:
            assert self.d_optimizer is not None, "D has one"
            form = config.loss.adversarial.form
            players = [Player("", self.d, self.d_optimizer, parts.policy, form)]
            if networks.passes.replayed:
                players[0].r1.estimate("a second derivative takes ten times a replayed pass")
        self.game = Game(
            self.g,
            self.g_optimizer,
            players,
            Sensors(
                self.g,
                {} if networks.d is None else {"": networks.d},
                every=config.sensors.every,
                probes_every=config.sensors.probes_every,
                held_out=parts.held_out_crops,
                paired=True,
                values=(0.0, 1.0),
                autocast=self.fabric.autocast,
            ),
            Snapshot(networks.modules(), self.optimizers()),
            tell,
            seed=config.train.seed,
            stage=stage.name,
        )
        self.game.batches = batches.drawn

    @property
    def player(self) -> Player | None:
        """D's, in a stage with one."""
        return next(iter(self.game.players.values()), None)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """By the names that checkpoints have."""
        optimizers = {"g_optimizer": self.g_optimizer, "d_optimizer": self.d_optimizer}
        return {name: own for name, own in optimizers.items() if own is not None}

    def play(self) -> None:
        """Play the next turn."""
        turn = self.game.begin()
        lr, hr = self.batches.next()
        fake, change = self.generate(lr), InputChange()
        if self.d is not None:
            change = turn.d_begin().change_now
            self._train_d(turn, hr, fake, change)
            for _ in range(turn.of(None).asked.d_steps - 1):
                fresh_lr, fresh_hr = self.batches.next()
                with torch.no_grad():
                    fresh = self.generate(fresh_lr)
                self._train_d(turn, fresh_hr, fresh, turn.d_begin().change_now)
        terms = self._train_g(turn, hr, fake, change, first=True)
        if turn.g_updated:
            for _ in range(turn.g_steps - 1):
                lr, hr = self.batches.next()
                change = turn.g_begin() if self.d is not None else InputChange()
                self._train_g(turn, hr, self.generate(lr), change, first=False)
        if not turn.rolls_back:
            decay = self.parts.config.train.ema_decay
            update_average(self.parts.networks.g_average, self.g, decay, turn.step)
        turn.end(terms=terms)
        for passes in self.parts.networks.passes.replayed:
            if passes.failure and not passes.failure_is_told:
                passes.failure_is_told = True
                self._tell(turn.step, "fallback", f"step {turn.step}: {passes.failure}", 0)

    def generate(self, lr: Tensor) -> Tensor:
        """G's images (N, 3, H, W), graph attached, always float32."""
        with self.fabric.autocast():
            return self.parts.networks.passes.run_g(lr).float()

    # D.

    def _ask_d(self, images: Tensor) -> Tensor:
        run_d = self.parts.networks.passes.run_d
        assert run_d is not None, "a stage with D"
        return run_d(images).float()

    def _train_d(self, turn: Turn, hr: Tensor, fake: Tensor, change: InputChange) -> None:
        """D judges a batch, the policy decides, D learns."""
        player, fake = turn.of(None).player, fake.detach()
        real_seen, fake_seen = change.real(hr), change.fake(fake)
        with self.fabric.autocast():
            real_logits, fake_logits = self._ask_d(real_seen), self._ask_d(fake_seen)
        action = turn.judge(real_logits, fake_logits, real=hr, fake=fake)
        if turn.rolls_back or not action.d_steps:
            return
        loss = turn.d_loss(*self.form.d_loss(real_logits, fake_logits))
        for term in self._penalties(turn.step, player.network, real_seen, fake_seen):
            loss = loss + term
            turn.d_penalty(term)
        player.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        average_gradients(self.fabric, player.network)
        turn.d_step(player.optimizer.step)

    def _penalties(self, step: int, d: nn.Module, real: Tensor, fake: Tensor) -> Iterator[Tensor]:
        """The configured ones: taken in one of so many steps, they count as often there."""
        config = self.stage.loss.adversarial
        if step % config.penalties_every:
            return
        times = config.penalties_every
        if config.r1:
            yield times * config.r1 / 2 * r1_penalty(d, real)
        if config.r2:
            yield times * config.r2 / 2 * r1_penalty(d, fake)
        if config.gradient_penalty:
            device = self.fabric.device
            noise = generator_for_step(self.game.seed, step, self.fabric.global_rank, device)
            yield times * config.gradient_penalty * gradient_penalty(d, real, fake, noise)

    # G.

    def _train_g(
        self, turn: Turn, hr: Tensor, fake: Tensor, change: InputChange, *, first: bool
    ) -> dict[str, Tensor]:
        """Update G, or only measure where it is not to be trained; its weighted loss terms. The
        `first` update of a turn is the one that is recorded."""
        train = turn.g_steps > 0 and not turn.rolls_back
        graph = contextlib.nullcontext() if train else torch.no_grad()
        with graph, without_gradients(self.d):
            real_logits = fake_logits = None
            with self.fabric.autocast():
                if self.d is not None:
                    real_logits = self._ask_d(change.real(hr)) if self.form.g_needs_real else None
                    fake_logits = self._ask_d(change.fake(fake))
                terms = self._g_loss.terms(fake, hr, real_logits, fake_logits)
            if ADVERSARIAL in terms:
                terms[ADVERSARIAL] = turn.weigh(terms[ADVERSARIAL])
            if train:
                # To G's output term by term, then through G once: no more work than in one go.
                adversarial, content = output_gradients(terms, fake)
                if first:
                    turn.g_gradients(adversarial, content)
                whole = [part for part in (adversarial, content) if part is not None]
                self.g_optimizer.zero_grad(set_to_none=True)
                self.fabric.backward(fake, sum(whole[1:], start=whole[0]))
                average_gradients(self.fabric, self.g)
                turn.g_step(self.g_optimizer.step)
        if first and fake_logits is not None:
            # D(G(z)) after D's update comes from G's pass through the new D.
            turn.d_again(fake_logits)
        return {name: term.detach() for name, term in terms.items()}


@contextlib.contextmanager
def without_gradients(module: nn.Module | None) -> Iterator[None]:
    """Let gradients through `module` without collecting any in its parameters."""
    frozen = nn.Identity() if module is None else module
    frozen.requires_grad_(False)
    try:
        yield
    finally:
        frozen.requires_grad_(True)


def average_gradients(fabric: Fabric, module: nn.Module) -> None:
    """Average the parameters' gradients over all processes, in one message."""
    if fabric.world_size == 1:
        return
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    whole = torch.cat([gradient.flatten() for gradient in gradients])
    flat = fabric.all_reduce(whole, reduce_op="mean")
    assert isinstance(flat, Tensor)
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    for gradient, mean in zip(gradients, parts, strict=True):
        gradient.copy_(mean.view_as(gradient))


def update_average(average: nn.Module, module: nn.Module, decay: float, step: int) -> None:
    """Move the exponential moving average of G's weights one step; buffers are copied.

    Early on the average is short, min(decay, (1 + step) / (10 + step)), so that a short training
    is not judged by its initial weights.
    """
    decay = min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - decay)
        for mean_buffer, buffer in zip(average.buffers(), module.buffers(), strict=True):
            mean_buffer.copy_(buffer)
