"""Small networks over observations: a policy with a critic, and a reward model. CartPole and tables.

They evaluate the same records as a language model does; only ``context`` is read differently.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from posttrain.core.batch import Evaluation, Policy, Rollouts, Wants
from posttrain.core.kl import exact
from posttrain.core.masked import lengths
from posttrain.core.seeds import derive
from posttrain.models.running import RunningNormaliser
from posttrain.pipeline.finding import UserError

OBSERVATIONS = "observations"  # [B, T+1, D] float32, among Rollouts.context


def network(widths: Sequence[int], last_gain: float, seed: int, bias: bool = True) -> nn.Sequential:
    """Linear layers of these widths with tanh between them; orthogonal weights, those of the last layer
    times ``last_gain`` (0.01 begins with all actions alike). Two widths are a table over one-hot input,
    and without ``bias`` its rows share nothing."""
    layers: list[nn.Module] = []
    generator = torch.Generator().manual_seed(seed)
    pairs = list(itertools.pairwise(widths))
    for index, (wide, out) in enumerate(pairs):
        layer = nn.Linear(wide, out, bias=bias)
        last = index == len(pairs) - 1
        nn.init.orthogonal_(layer.weight, last_gain if last else math.sqrt(2), generator=generator)
        if bias:
            nn.init.zeros_(layer.bias)
        layers += [layer] if last else [layer, nn.Tanh()]
    return nn.Sequential(*layers)


class MLPPolicy(nn.Module):
    """A policy over A actions, and a critic of its own beside it.

    With ``normalise`` both read observations through running moments, which :meth:`observe` moves. Without
    ``bias`` their layers have none.
    """

    def __init__(
        self,
        observations: int,
        actions: int,
        hidden: Sequence[int] = (64, 64),
        seed: int = 0,
        normalise: bool = False,
        bias: bool = True,
    ):
        super().__init__()
        self.shape = {"observations": observations, "actions": actions, "hidden": list(hidden)}
        self.policy = network([observations, *hidden, actions], 0.01, derive(seed, "policy"), bias)
        self.critic = network([observations, *hidden, 1], 1.0, derive(seed, "critic"), bias)
        if not bias:
            self.shape["bias"] = False
        self.normaliser = RunningNormaliser(observations) if normalise else None
        if normalise:
            self.shape["normalise"] = True

    def parameters_of(self, role: str) -> list[nn.Parameter]:
        """role: "policy" or "critic"."""
        return list({"policy": self.policy, "critic": self.critic}[role].parameters())

    def observe(self, rollouts: Rollouts) -> None:
        """Add what these rows saw to the moments. Call it between the last update on a batch and the next
        batch: the sampler and the trainer then read alike."""
        if self.normaliser is not None:
            self.normaliser.update(rollouts.context[OBSERVATIONS][:, :-1][rollouts.action_mask])

    def _read(self, observations: Tensor) -> Tensor:
        return observations if self.normaliser is None else self.normaliser(observations)

    def logits(self, observations: Tensor) -> Tensor:
        """[..., D] -> [..., A]."""
        logits: Tensor = self.policy(self._read(observations))
        return logits

    def value(self, observations: Tensor) -> Tensor:
        """[..., D] -> [...]."""
        values: Tensor = self.critic(self._read(observations))[..., 0]
        return values

    def evaluate(self, rollouts: Rollouts, wants: Wants, against: Policy | None = None) -> Evaluation:
        """Log-probabilities at the rows' temperature; with ``against`` (another MLPPolicy) the exact KL.

        ``bootstrap`` is the value of the observation after a row's last chosen step.
        """
        mask, observations = rollouts.action_mask, rollouts.context[OBSERVATIONS]
        at = _gather(observations[:, :-1], mask)
        warmth = _gather(rollouts.temperature[:, None].expand_as(mask), mask)[:, None]
        log_p = (self.logits(at) / warmth).log_softmax(-1)
        taken = _gather(rollouts.actions, mask)
        entropy = None
        if wants.entropy or wants.entropy_gradient:
            with torch.set_grad_enabled(torch.is_grad_enabled() and wants.entropy_gradient):
                entropy = -(log_p.exp() * log_p).sum(-1)
        kl = None
        if against is not None:
            if not isinstance(against, MLPPolicy):
                raise TypeError(f"the exact KL of an MLPPolicy is from another one, not {type(against)}")
            with torch.no_grad():
                other = against.logits(at) / warmth
            kl = _spread(exact(log_p, other), mask)
        values = bootstrap = None
        if wants.values:
            values = _spread(self.value(at), mask)
            after = observations[torch.arange(len(observations), device=observations.device), lengths(mask)]
            bootstrap = self.value(after)
        return Evaluation(
            logprobs=_spread(log_p.gather(-1, taken[:, None])[:, 0], mask),
            entropy=None if entropy is None else _spread(entropy, mask),
            values=values,
            bootstrap=bootstrap,
            kl=kl,
        )

    def save(self, directory: Path) -> None:
        """Writes ``mlp.json`` and ``mlp.safetensors``."""
        from safetensors.torch import save_file

        (directory / "mlp.json").write_text(json.dumps(self.shape) + "\n")
        save_file(self.state_dict(), directory / "mlp.safetensors")

    @classmethod
    def load(cls, directory: Path) -> MLPPolicy:
        """Raises UserError where the directory holds no such policy."""
        from safetensors.torch import load_file

        try:
            made = cls(**json.loads((directory / "mlp.json").read_text()))
            made.load_state_dict(load_file(directory / "mlp.safetensors"))
        except (OSError, ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"{directory}: not a policy of posttrain's small networks ({error})") from None
        return made


class MLPReward(nn.Module):
    """A reward for each step, from its observation and action (Christiano et al. 2017, section 2.2.3).

    Its scale is that of the comparisons it learned from: a difference of 1 between two segments' sums is
    odds of e. Inputs are centred and scaled by the statistics that :meth:`normalise` was last given.

    With ``bound`` the reward is ``bound * tanh(network / bound)``. States that are certainly good are then
    paid alike, and so are states that are certainly bad: no way of failing is worth looking for.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        observations: int,
        actions: int,
        hidden: Sequence[int] = (64, 64),
        seed: int = 0,
        bound: float | None = None,
    ):
        super().__init__()
        self.actions, self.bound = actions, bound
        self.network = network([observations + actions, *hidden, 1], 0.1, derive(seed, "reward"))
        self.register_buffer("centre", torch.zeros(observations + actions))
        self.register_buffer("spread", torch.ones(observations + actions))

    def _inputs(self, rollouts: Rollouts) -> Tensor:
        """[chosen steps, D + A]: observation and one-hot action."""
        observations, mask = rollouts.context[OBSERVATIONS][:, :-1], rollouts.action_mask
        taken = torch.eye(self.actions, device=observations.device)[_gather(rollouts.actions, mask)]
        return torch.cat([_gather(observations, mask), taken], -1)

    @torch.no_grad()
    def normalise(self, rollouts: Rollouts) -> None:
        """From now on each input has mean 0 and standard deviation 1 over the chosen steps of these rows. An
        angle of 0.2 radians decides the reward, a speed of 2 does not: unscaled, the network sees the speed.
        """
        inputs = self._inputs(rollouts)
        self.centre.copy_(inputs.mean(0))
        self.spread.copy_(inputs.std(0, correction=0).clamp(min=1e-3))

    def score(self, rollouts: Rollouts) -> Tensor:
        """[B, T]; 0 outside the mask."""
        mask = rollouts.action_mask
        reward = self.network((self._inputs(rollouts) - self.centre) / self.spread)[:, 0]
        if self.bound is not None:
            reward = self.bound * (reward / self.bound).tanh()
        return _spread(reward, mask, 0.0)


def _gather(x: Tensor, mask: Tensor) -> Tensor:
    """[B, T, ...] -> [chosen steps, ...]; a view where possible if every step was chosen."""
    return x.flatten(0, 1) if bool(mask.all()) else x[mask]


def _spread(x: Tensor, mask: Tensor, outside: float = float("nan")) -> Tensor:
    """[chosen steps] -> [B, T], ``outside`` where nothing was chosen."""
    if len(x) == mask.numel():
        return x.reshape(mask.shape)
    return x.new_full(mask.shape, outside).masked_scatter(mask, x)
