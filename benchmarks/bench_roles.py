"""Roles: what the policy, reference, critic and reward model of PPO hold together, against the policy alone.

    python benchmarks/bench_roles.py [--model DIR|smollm2]

Bytes of weights, each storage once, and of the two moments of AdamW for what learns; all roles are adapters
of rank 16 on one trunk. Beside it four models, two of which learn. Writes
benchmarks/results/roles-MODEL.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from torch import Tensor
from turns import BASE, keep, model_directory

from posttrain.models.loading import new_head
from posttrain.models.lora import Adapter, Lora
from posttrain.models.role import Role
from posttrain.models.roles import open_policy


def weights(tensors: Iterable[Tensor]) -> int:
    """Bytes of the storages behind the tensors."""
    return sum({x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in tensors}.values())


def moments(learning: Iterable[Tensor]) -> int:
    """Bytes that AdamW keeps of what learns: two moments as large as each."""
    return sum(2 * x.numel() * x.element_size() for x in learning)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(BASE))
    model = model_directory(parser.parse_args().model)
    roles = open_policy(model, lora=Lora(), critic=model, reference=True)
    policy, critic, trunk = roles.policy.policy, roles.policy.critic, roles.model
    assert roles.reference is not None
    assert critic is not None
    judge = Role(
        trunk.base_model,
        new_head(trunk, seed=2).requires_grad_(False),
        Adapter(trunk.base_model, Lora(), seed=2).requires_grad_(False),
    )
    plain = list(trunk.parameters())
    alone = weights([*plain, *policy.parameters()]) + moments(policy.parameters())
    held = [*plain]
    for role in (policy, roles.reference.policy, critic, judge):
        held += [*role.trunk.parameters(), *role.head.parameters()]
        held += [] if role.adapter is None else [*role.adapter.parameters()]
    together = weights(held) + moments([*policy.parameters(), *critic.parameters()])
    separate = 4 * weights(plain) + 2 * moments(plain)
    sizes = {"policy alone": alone, "four roles": together, "four models": separate}
    keep(f"roles-{Path(model).name}.json", "bytes", sizes | {"ratio": together / alone})
    print({name: f"{size / 2**20:.1f} MiB" for name, size in sizes.items()}, f"ratio {together / alone:.3f}")


if __name__ == "__main__":
    main()
