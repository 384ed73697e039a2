"""Stable-Baselines3's side of bench_gymnasium: PPO at its own defaults, and what it earns afterwards as JSON.

    PYTHON_OF_SB3 benchmarks/sb3_side.py ID SEED STEPS EPISODES [limit=N]

It steps one environment, as its defaults do; returns are sums of the environment's own rewards.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    import gymnasium
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    torch.set_num_threads(1)
    name, (seed, steps, episodes) = sys.argv[1], map(int, sys.argv[2:5])
    limit = int(sys.argv[5].removeprefix("limit=")) if sys.argv[5:] else None  # None: what is registered

    def made() -> Monitor:
        return Monitor(gymnasium.make(name, max_episode_steps=limit))

    model = PPO("MlpPolicy", made(), seed=seed, device="cpu").learn(steps)
    earned = {}
    for kind, greedy in (("policy", False), ("greedy", True)):
        world = made()
        world.reset(seed=seed + 1)
        earned[kind] = float(evaluate_policy(model, world, episodes, deterministic=greedy)[0])
    print(json.dumps(earned))


if __name__ == "__main__":
    main()
