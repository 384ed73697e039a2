"""What reinforcement will cost."""

from __future__ import annotations

from typing import Any

from posttrain.pipeline.sizes import FLOAT, Rows, Size, sampler_bytes, training_bytes
from posttrain.pipeline.stage import Estimate, Inputs, Machine, nested


def estimate(stage: Any, inputs: Inputs, machine: Machine) -> Estimate | None:
    """Operations, bytes and tokens of a stage of reinforcement, from the sizes of the models and of the rows;
    None where they are not known.
    """
    size, prompts = Size.of(inputs.get("policy")), Rows.of(inputs.get("prompts"))
    if size is None or prompts is None:
        return None
    at_once = stage.drawn[0] * stage.drawn[1]
    length = prompts.row_tokens + stage.max_completion_length / 2  # where answers end by themselves
    tokens = stage.steps * at_once * length
    critics = 1 if stage.method.wants.values else 0
    # read by sampler, policy, reference, reward model and critic, then learned from in every epoch
    scorers = sum(path.startswith("reward.") for path, _ in nested(stage))
    operations = (3 + scorers + critics) * size.reading(tokens)
    share = 1.0 if stage.lora is None else 0.0
    operations += (1 + critics) * stage.method.epochs * size.learning(tokens, share)
    if (text := Rows.of(inputs.get("pretraining"))) is not None:
        updates = stage.steps * stage.method.epochs * stage.method.minibatches
        operations += size.learning(updates * stage.pretraining_rows * text.row_tokens, share)
    batch = min(machine.micro_batch_tokens, at_once * length / stage.method.minibatches)
    memory = training_bytes(size, batch, stage.lora, machine, roles=1 + critics)
    memory += sampler_bytes(size, stage.lora, stage.compute, critics)
    memory += int(FLOAT * min(at_once, 512) * length * size.layers * size.cached)
    return Estimate(tokens=int(tokens), operations=operations, bytes=memory, expects=size.figures())
