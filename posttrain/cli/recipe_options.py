"""What ``run`` and ``doctor`` share: a recipe with its settings, and the machine that it is for."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

from posttrain import settings
from posttrain.cli.recipe_files import find_recipe
from posttrain.device import DEVICE_HELP, device
from posttrain.pipeline.collector import uncollected
from posttrain.pipeline.files import expanded
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Compute, HeldIn, Machine, Stage, addresses, base_name
from posttrain.pipeline.store import Workspace
from posttrain.pipeline.values import Override
from posttrain.storage.unfinished import KEEP_LAST, SAVE_SECONDS, SAVE_STEPS

SPINS = "1000"


def declare_recipe(parser: argparse.ArgumentParser) -> None:
    """The arguments of a command that takes a recipe."""
    parser.add_argument(
        "recipe", nargs="?", metavar="RECIPE", help="a name of `posttrain list`, or a .py file"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="NAME=VALUE", help="settings, see posttrain run --help"
    )
    parser.add_argument("--config", type=expanded, metavar="FILE", help="the same settings in a YAML file")
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave faulty rows of your files out, counted and named"
    )
    parser.add_argument(
        "--compute",
        choices=get_args(Compute),
        help="what matrix products of training and samplers work in; weights, heads and evaluation stay in "
        "float32 (default: what the recipe says); posttrain doctor says how fast this machine is in bfloat16",
    )
    parser.add_argument("--device", default="cpu", help=DEVICE_HELP)
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument(
        "--micro-batch-tokens",
        type=int,
        default=8192,
        metavar="N",
        help="memory against speed; results stay the same up to rounding",
    )
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="recompute activations in the backward pass instead of keeping them: much less memory, a third "
        "more work; changes no result",
    )
    parser.add_argument(
        "--trunk",
        choices=get_args(HeldIn),
        help="what the frozen trunk of adapters (lora=16) is held in: half, a quarter or an eighth of the "
        "memory; see docs/gpu.md for what it does to the numbers (default: float32)",
    )
    _declare_saving(parser)


def _declare_saving(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--save-seconds",
        type=float,
        default=SAVE_SECONDS,
        metavar="N",
        help="seconds between checkpoints, from which a killed run goes on (default: %(default)g); saving "
        "never takes more than a twentieth of the time",
    )
    parser.add_argument(
        "--save-steps",
        type=int,
        default=SAVE_STEPS,
        metavar="N",
        help="also save every N updates (default: by time alone)",
    )
    parser.add_argument(
        "--keep-last",
        type=int,
        default=KEEP_LAST,
        metavar="N",
        help="checkpoints of a stage that are kept until it is finished (default: %(default)s)",
    )


def read_recipe(options: Any) -> tuple[Callable[..., Stage], list[Override], Stage]:
    """The recipe, its overrides, and the expression that comes of both. Raises UserError for an option, a
    recipe or an override that is none.
    """
    if options.threads is not None and options.threads < 1:
        raise UserError(f"--threads {options.threads}: expected at least 1")
    if options.micro_batch_tokens < 1:
        raise UserError(f"--micro-batch-tokens {options.micro_batch_tokens}: expected at least 1")
    for name, least in (("save_seconds", 0), ("save_steps", 0), ("keep_last", 1)):
        if not getattr(options, name) >= least:
            shown = f"--{name.replace('_', '-')} {getattr(options, name)}"
            raise UserError(f"{shown}: expected {least} or more")
    if options.threads:  # before anything imports torch
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(options.threads)
    _spin_briefly()
    with uncollected():
        recipe = find_recipe(options.recipe)
    overrides = settings.from_yaml(options.config) if options.config else []
    overrides += settings.parse(options.overrides)
    expression = settings.expression(recipe, overrides)
    if options.skip_bad:
        readers = _stages_with(expression, "skip_bad")
        if not readers:
            raise UserError(
                "--skip-bad: no rows of your own are read here; give demonstrations=FILE or others"
            )
        overrides += [Override(f"{name}.skip_bad", "true") for name in readers]
    if options.compute:
        names = _stages_with(expression, "compute")
        overrides = [*(Override(f"{name}.compute", options.compute) for name in names), *overrides]
    if options.trunk:
        names = [n for n in _stages_with(expression, "lora") if _has_adapters(expression, n)]
        if not names:
            raise UserError(f"--trunk {options.trunk}: no stage here trains adapters; give lora=16 as well")
        overrides = [*overrides, *(Override(f"{name}.lora.trunk", options.trunk) for name in names)]
    if options.skip_bad or options.compute or options.trunk:
        expression = settings.expression(recipe, overrides)
    return recipe, overrides, expression


def machine_of(options: Any, workspace: Workspace, quiet: bool) -> Machine:
    """The machine as the options have it."""
    name = device(options.device)
    return Machine(
        device=name,
        threads=options.threads,
        micro_batch_tokens=options.micro_batch_tokens,
        recompute=options.recompute,
        save_seconds=options.save_seconds,
        save_steps=options.save_steps,
        keep_last=options.keep_last,
        quiet=quiet,
        workspace=workspace.root,
        speed=partial(_speed, name),
        free=partial(_free, name),
    )


def _spin_briefly() -> None:
    """A thread that waits for others sleeps after some 50 microseconds; GCC's OpenMP would have it spin for
    15 milliseconds, at each of the thousands of waits a second that small models have, which takes the core
    from whatever else runs there. A user's own choice stands.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():  # read when torch is imported
        os.environ["GOMP_SPINCOUNT"] = SPINS


def _stages_with(expression: Stage, setting: str) -> list[str]:
    """The names of the stages that have a setting; one name for all rounds of a stage."""
    stages = [stage for stage in addresses(expression).values() if hasattr(stage, setting)]
    return list(dict.fromkeys(base_name(stage) for stage in stages))


def _has_adapters(expression: Stage, name: str) -> bool:
    return any(base_name(stage) == name and stage.lora for stage in addresses(expression).values())  # type: ignore[attr-defined]


def _speed(name: str) -> float:
    from posttrain.checks.machine import speed

    return speed(name)


def _free(name: str) -> int:
    from posttrain.checks.machine import free_memory

    return free_memory(name)
