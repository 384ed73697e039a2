"""PPO (Schulman et al. 2017) learns to balance CartPole: `posttrain run cartpole` on one page.

    python examples/ppo_on_one_page.py [STEPS]

Of posttrain it imports the algebra alone: GAE, whitening, seeds. The cart is written out too: ten lines of
physics are less to read than an interface to them. The package's parts are environments/cartpole.py,
models/mlp.py, rollouts/play.py, policy_gradients/ppo.py and training/; a test holds both to the same bits.
B rows are plays side by side, T steps the longest of them; ``mask`` says which steps were played, N of them.
"""

import sys

import numpy as np
import torch
from torch import Tensor, nn

from posttrain.core.advantages import gae, whiten
from posttrain.core.seeds import derive

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, TAU = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02  # SI units
FAR, STEEP, LIMIT = 2.4, 12 * np.pi / 180, 500  # metres, radians: beyond them it has fallen; longest play
STEPS, ROWS, EPOCHS, MINIBATCHES = 40, 32, 8, 4  # batches of plays, plays a batch, passes, updates a pass
GAMMA, LAMBDA, CLIP, VF_COEF, CLIP_NORM = 0.99, 0.95, 0.2, 0.5, 1.0
RATES = (2e-3, 5e-3)  # learning rates of policy and critic, straight down to 0


def pushed(state: np.ndarray, right: np.ndarray) -> np.ndarray:
    """[B, 4], [B] bool -> [B, 4], TAU seconds later (Barto, Sutton and Anderson 1983, appendix)."""
    x, speed, angle, spin = state.T
    sine, cosine, both = np.sin(angle), np.cos(angle), CART + POLE
    force = (np.where(right, FORCE, -FORCE) + POLE * HALF_LENGTH * spin**2 * sine) / both
    turning = (GRAVITY * sine - cosine * force) / (HALF_LENGTH * (4 / 3 - POLE * cosine**2 / both))
    rolling = force - POLE * HALF_LENGTH * turning * cosine / both
    return np.stack([x + TAU * speed, speed + TAU * rolling, angle + TAU * spin, spin + TAU * turning], 1)


def network(outputs: int, last_gain: float, seed: int) -> nn.Sequential:
    """4 -> 64 -> 64 -> ``outputs``, orthogonal weights; a last gain near 0 begins with all actions alike."""
    generator, layers = torch.Generator().manual_seed(seed), []
    for inside, outside, gain in ((4, 64, 2**0.5), (64, 64, 2**0.5), (64, outputs, last_gain)):
        layers += [nn.Linear(inside, outside), nn.Tanh()]
        nn.init.orthogonal_(layers[-2].weight, gain, generator=generator)
        nn.init.zeros_(layers[-2].bias)
    return nn.Sequential(*layers[:-1])


def log_prob(policy: nn.Module, observations: Tensor, actions: Tensor) -> Tensor:
    """[N, 4], [N] -> [N]: ``log pi(a | s)``."""
    return policy(observations).log_softmax(-1).gather(-1, actions[:, None])[:, 0]


@torch.no_grad()
def play(policy: nn.Module, seeds: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Observations [B, T+1, 4], actions [B, T], mask [B, T]; [B]: whether the limit stopped the play."""
    state = np.stack([np.random.default_rng(derive(s, "start")).uniform(-0.05, 0.05, 4) for s in seeds])
    chances = np.stack([np.random.default_rng(derive(s, "act")).random(LIMIT) for s in seeds])
    draws = torch.from_numpy(chances.astype(np.float32))  # [B, LIMIT]
    standing, seen, steps = np.ones(len(seeds), bool), [torch.from_numpy(state.astype(np.float32))], []
    for time in range(LIMIT):
        left = policy(seen[-1]).log_softmax(-1).exp()[:, 0]  # [B], the probability to push left
        right = left <= draws[:, time]
        steps.append((right.long(), torch.from_numpy(standing)))
        state = np.where(standing[:, None], pushed(state, right.numpy()), state)
        standing = standing & (abs(state[:, 0]) <= FAR) & (abs(state[:, 2]) <= STEEP)
        seen.append(torch.from_numpy(state.astype(np.float32)))
        if not standing.any():
            break
    actions, mask = (torch.stack(column, 1) for column in zip(*steps, strict=True))
    return torch.stack(seen, 1), actions, mask, torch.from_numpy(standing)


def ppo_loss(now: Tensor, before: Tensor, advantages: Tensor, values: Tensor, returns: Tensor) -> Tensor:
    """``-E[min(r A, clip(r, 1 - c, 1 + c) A)] + vf_coef E[(V - R)^2] / 2`` over N steps (eq. 7 and 9)."""
    ratio = (now - before).exp()  # [N], pi(a | s) now over pi(a | s) when it was sampled
    gain = torch.minimum(ratio * advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * advantages)
    return -gain.double().mean() + VF_COEF * ((values - returns).square() / 2).double().mean()


def train(steps: int = STEPS, seed: int = 0) -> tuple[nn.ModuleDict, list[float]]:
    """The networks ``policy`` and ``critic``, and the mean return of each batch of plays."""
    policy, critic = network(2, 0.01, derive(seed, "policy")), network(1, 1.0, derive(seed, "critic"))
    groups = [{"params": list(net.parameters())} for net in (policy, critic)]
    adam = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    history, updates, total = [], 0, steps * EPOCHS * MINIBATCHES
    for step in range(steps):
        seen, actions, mask, cut = play(policy, [derive(seed, "play", step, row) for row in range(ROWS)])
        history.append(float(mask.sum() / ROWS))  # each step is paid 1
        orders = [torch.Generator().manual_seed(derive(seed, "minibatch", step, e)) for e in range(EPOCHS)]
        parts = [torch.randperm(ROWS, generator=o).tensor_split(MINIBATCHES) for o in orders]
        batches = [part.sort().values for epoch in parts for part in epoch]  # the rows of each update
        before, values, after = torch.zeros(mask.shape), torch.zeros(mask.shape), torch.zeros(ROWS)
        with torch.no_grad():
            for rows in batches[:MINIBATCHES]:  # as in the first updates, so that their ratio is exactly 1
                played, blank = mask[rows], torch.zeros(len(rows), mask.shape[1])  # [B / 4, T]
                at, taken = seen[rows, :-1][played], actions[rows][played]  # [N, 4], [N]
                before[rows] = blank.masked_scatter(played, log_prob(policy, at, taken))
                values[rows] = blank.masked_scatter(played, critic(at)[:, 0])
                after[rows] = critic(seen[rows, played.sum(1)])[:, 0]  # a play that was cut would go on
        ends = {"truncated": cut, "bootstrap": after}
        advantages = gae(mask.float(), values, mask, gamma=GAMMA, gae_lambda=LAMBDA, **ends)  # [B, T]
        returns, advantages = advantages + values, whiten(advantages, mask)
        for rows in batches:
            at, taken = seen[rows, :-1][mask[rows]], actions[rows][mask[rows]]
            old, advantage, target = (x[rows][mask[rows]] for x in (before, advantages, returns))  # [N] each
            adam.zero_grad()
            ppo_loss(log_prob(policy, at, taken), old, advantage, critic(at)[:, 0], target).backward()
            for group, rate in zip(adam.param_groups, RATES, strict=True):
                gradients = [parameter.grad for parameter in group["params"]]
                scale = (CLIP_NORM / nn.utils.get_total_norm(gradients)).clamp(max=1)
                for gradient in gradients:
                    gradient *= scale
                group["lr"] = rate * (1 - updates / total)
            adam.step()
            updates += 1
    return nn.ModuleDict({"policy": policy, "critic": critic}), history


if __name__ == "__main__":
    for number, earned in enumerate(train(*map(int, sys.argv[1:2]))[1], start=1):
        print(f"batch {number}: a pole stands for {earned:.0f} of {LIMIT} steps")
