"""One stage of a training: its losses and optimizers, and how a turn of its game is played.

The networks are not wrapped in DistributedDataParallel: an adversarial step runs D several times
per backward pass, may back-propagate one half of its loss alone, differentiates twice for the
penalties and sends gradients through a D that must not collect any. DDP's hooks assume none of
that. Gradients are averaged over the processes explicitly instead, once per update.
"""

import contextlib
from collections.abc import Iterator

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from counterpoise.actuators.inputs import InputChange
from counterpoise.actuators.snapshot import Snapshot
from counterpoise.config import AdamConfig
from counterpoise.data.dataset import Pair
from counterpoise.game.game import Game, Tell
from counterpoise.game.players import Player
from counterpoise.game.sensing import Sensors
from counterpoise.game.turn import ADVERSARIAL, Turn
from counterpoise.losses.generator_loss import GeneratorLoss
from counterpoise.losses.penalties import gradient_penalty, r1_penalty
from counterpoise.seeding import generator_for_step
from counterpoise.sensors.gradients import output_gradients
from counterpoise.training.plan import Stage, learning_rate
from counterpoise.training.setup import Batches, Parts, adam, is_enabled


class StageTraining:
    """Plays the turns of one stage. Fakes are made once: D sees them alike in its part and in G's.

    `tell` says what a person must know.
    """

    def __init__(self, parts: Parts, stage: Stage, batches: Batches, tell: Tell) -> None:
        self.parts, self.stage, self.batches, self._tell = parts, stage, batches, tell
        self.fabric, networks = parts.fabric, parts.networks
        self.g, self.d = networks.g, networks.d if stage.is_adversarial else None
        fused = is_enabled(parts.config.train.fused_adam, self.fabric.device)
        self.g_optimizer = adam(self.g.parameters(), stage.g_adam, fused=fused)
        self.d_optimizer = parts.d_optimizer
        self.form = parts.form
        self._g_loss = GeneratorLoss(stage.loss, self.form, networks.run_features)
        config, players = parts.config, []
        # With D: networks, and what their updates are made by.
        self._trained: dict[str, tuple[nn.Module, torch.optim.Optimizer, AdamConfig]]
        self._trained = {"g": (self.g, self.g_optimizer, stage.g_adam)}
        if self.d is not None:
            assert self.d_optimizer is not None, "D has one"
            self._trained["d"] = self.d, self.d_optimizer, config.optimizer.d
            form = config.loss.adversarial.form
            players = [Player("", self.d, self.d_optimizer, parts.policy, form)]
            if networks.replayed:
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
                grad_scaler=parts.scaler if parts.scaler.is_enabled() else None,
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
        step = turn.step - self.stage.first_step + 1
        for _, optimizer, config in self._trained.values():
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step, self.stage.steps)
        batches = self._next_batches()
        # D and G share one batch's fakes; of several, the graphs would all be in memory at once.
        fake = self.generate(batches[0][0]) if len(batches) == 1 else None
        changes = [InputChange() for _ in batches]
        if self.d is not None:
            changes = self._train_d(turn, batches, fake)
            for _ in range(turn.of(None).asked.d_steps - 1):
                self._train_d(turn, self._next_batches(), None)
        terms = self._train_g(turn, batches, fake, changes)
        if turn.g_updated:
            for _ in range(turn.g_steps - 1):
                batches = self._next_batches()
                if self.d is not None:
                    changes = [turn.g_begin() for _ in batches]
                self._train_g(turn, batches, None, changes)
        if not turn.rolls_back:
            decay = self.parts.config.train.ema_decay
            update_average(self.parts.networks.g_average, self.g, decay, turn.step)
        turn.end(terms=terms)
        for passes in self.parts.networks.replayed:
            if passes.failure and not passes.failure_is_told:
                passes.failure_is_told = True
                self._tell(turn.step, "fallback", f"step {turn.step}: {passes.failure}", 0)

    def generate(self, lr: Tensor) -> Tensor:
        """G's images (N, 3, H, W), graph attached, always float32."""
        with self.fabric.autocast():
            return self.parts.networks.run_g(lr).float()

    def _next_batches(self) -> list[Pair]:
        """Those of one update: LR and HR."""
        return [self.batches.next() for _ in range(self.parts.config.train.accumulate_batches)]

    def _update(self, turn: Turn, name: str) -> None:
        """Gradients of scaled losses are there, this process's: let the turn carry an optimizer's
        step out, unless 16 bits were too few for them."""
        network, optimizer, config = self._trained[name]
        scaler = self.parts.scaler
        average_gradients(self.fabric, network)
        scaler.unscale_(optimizer)
        if scaler.is_enabled():
            gradients = [p.grad for p in network.parameters() if p.grad is not None]
            is_finite = bool(nn.utils.get_total_norm(gradients).isfinite())
            scaler.update()
            if not is_finite:
                what = f"{name.upper()} is left as it is: its gradients overflowed 16 bits"
                text = f"step {turn.step}: {what}; losses are scaled less from here on"
                self._tell(turn.step, "skipped-step", text, 0)
                return

        def run() -> None:
            if config.clip_norm is not None:
                nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
            optimizer.step()

        (turn.g_step if name == "g" else turn.d_step)(run)

    # D.

    def _ask_d(self, images: Tensor) -> Tensor:
        run_d = self.parts.networks.run_d
        assert run_d is not None, "a stage with D"
        return run_d(images).float()

    def _train_d(self, turn: Turn, batches: list[Pair], fake: Tensor | None) -> list[InputChange]:
        """D judges batches, the policy decides on the first of a turn, D learns from all of them.

        `fake` is G's of the only batch, where it is there already. How D saw each batch.
        """
        player, changes = turn.of(None).player, []
        player.optimizer.zero_grad(set_to_none=True)
        for lr, hr in batches:
            change = turn.d_begin().change_now
            changes.append(change)
            with torch.no_grad():
                made = self.generate(lr) if fake is None else fake.detach()
            real_seen, fake_seen = change.real(hr), change.fake(made)
            with self.fabric.autocast():
                real_logits, fake_logits = self._ask_d(real_seen), self._ask_d(fake_seen)
            action = turn.judge(real_logits, fake_logits, real=hr, fake=made)
            if turn.rolls_back or not action.d_steps:
                continue
            loss = turn.d_loss(*self.form.d_loss(real_logits, fake_logits))
            batch = change.batch
            for term in self._penalties(turn.step, batch, player.network, real_seen, fake_seen):
                loss = loss + term
                turn.d_penalty(term)
            torch.autograd.backward(self.parts.scaler.scale(loss / len(batches)))
        if not turn.leaves_out(player.name):
            self._update(turn, "d")
        return changes

    def _penalties(
        self, step: int, batch: int, d: nn.Module, real: Tensor, fake: Tensor
    ) -> Iterator[Tensor]:
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
            noise = generator_for_step(self.game.seed, batch, self.fabric.global_rank, device)
            yield times * config.gradient_penalty * gradient_penalty(d, real, fake, noise)

    # G.

    def _train_g(
        self, turn: Turn, batches: list[Pair], fake: Tensor | None, changes: list[InputChange]
    ) -> dict[str, Tensor]:
        """Update G, or only measure where it is not to be trained; its weighted loss terms, means
        over the batches. The first update of a turn is the one that is recorded.

        `fake` is G's of the only batch, where it is there already.
        """
        train, first = turn.g_steps > 0 and not turn.rolls_back, not turn.g_updated
        means: dict[str, Tensor] = {}
        if train:
            self.g_optimizer.zero_grad(set_to_none=True)
        for (lr, hr), change in zip(batches, changes, strict=True):
            is_recorded = first and not means
            with torch.set_grad_enabled(train), without_gradients(self.d):
                made = self.generate(lr) if fake is None else fake
                terms, fake_logits = self._g_terms(turn, hr, made, change)
                if train:
                    # To G's output term by term, then through G once: no more work than in one go.
                    scaled = {name: self.parts.scaler.scale(term) for name, term in terms.items()}
                    adversarial, content = output_gradients(scaled, made)
                    if is_recorded:
                        turn.g_gradients(adversarial, content)
                    whole = [part for part in (adversarial, content) if part is not None]
                    gradient = sum(whole[1:], start=whole[0]) / len(batches)
                    torch.autograd.backward(made, gradient)
            if is_recorded and fake_logits is not None:
                # D(G(z)) after D's update comes from G's pass through the new D.
                turn.d_again(fake_logits)
            for name, term in terms.items():
                means[name] = means.get(name, 0) + term.detach() / len(batches)
        if train:
            self._update(turn, "g")
        return means

    def _g_terms(
        self, turn: Turn, hr: Tensor, fake: Tensor, change: InputChange
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """G's weighted loss terms on a batch, and D's logits on its fakes, if it has a D."""
        real_logits = fake_logits = None
        with self.fabric.autocast():
            if self.d is not None:
                real_logits = self._ask_d(change.real(hr)) if self.form.g_needs_real else None
                fake_logits = self._ask_d(change.fake(fake))
            terms = self._g_loss.terms(fake, hr, real_logits, fake_logits)
        if ADVERSARIAL in terms:
            terms[ADVERSARIAL] = turn.weigh(terms[ADVERSARIAL])
        return terms, fake_logits


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
