"""Mistakes in the loops, the optimizer, its schedule, what they report, and the stages that run them."""

# size: a table, one entry a mistake

from __future__ import annotations

from mutations.mutation import of

OPTIMIZER, REINFORCE, UPDATE = "training/optimizer.py", "training/rl_loop.py", "training/update.py"
FIT, SUMMARY, CONTROLLER = "training/fit.py", "training/run_summary.py", "training/kl_control.py"
AVERAGE, CHECKPOINT = "training/average.py", "training/checkpoint.py"
RL_OPTIMIZER, CONTROL = "stages/rl_optimizer.py", "stages/control.py"

OF_OPTIMIZER, OF_LOOP = "tests/training/test_optimizer.py", "tests/training/test_rl_loop.py"
OF_FIT, OF_SUMMARY = "tests/training/test_fit.py", "tests/training/test_rollout_metrics.py"
OF_RATES = "tests/stages/test_methods.py::test_the_rates_fall_over_all_updates_and_the_critic_has_its_own"
OF_CONTROLLER = f"{OF_LOOP}::test_the_controller_hears_nats_per_completion_and_completions"

MUTATIONS = [
    of(
        "a mean over each micro-batch",
        UPDATE,
        "_amount(name, term, weight if len(slices) == 1 else weight[rows])",
        "_amount(name, term, term.reduction(past))",
        "tests/training/test_update.py",
    ),
    of(
        "the weight of a part is ignored",
        UPDATE,
        "amount * (part.coef * term.coef)",
        "amount * term.coef",
        f"{OF_LOOP}::test_another_part_may_be_mixed_in",
    ),
    of(
        "a shared prompt counts in every row",
        UPDATE,
        "after_previous = torch.cat([alone[:1], alone[1:] - again])",
        "after_previous = alone",
        "tests/training/test_update.py",
    ),
    of(
        "rows come back in the order of their slices",
        "training/in_slices.py",
        "torch.cat(list(slices)).argsort()",
        "torch.cat(list(slices))",
        "tests/training/test_in_slices.py",
    ),
    of(
        "a schedule one update late",
        OPTIMIZER,
        "self.schedule(self.steps) * group",
        "self.schedule(max(self.steps - 1, 0)) * group",
        OF_OPTIMIZER,
    ),
    of(
        "linear decay that begins before warm-up has ended",
        OPTIMIZER,
        "(1 - (1 - floor) * _progress(step, total, warmup))",
        "(1 - (1 - floor) * _progress(step, total, 0))",
        OF_OPTIMIZER,
    ),
    of("a floor that is none", OPTIMIZER, "(1 - (1 - floor) * _progress", "(1 - _progress", OF_OPTIMIZER),
    of(
        "warm-up that begins with an update of nothing",
        OPTIMIZER,
        "(step + 1) / (warmup + 1)",
        "step / max(warmup, 1)",
        OF_OPTIMIZER,
    ),
    of(
        "a cosine of half the length",
        OPTIMIZER,
        "math.cos(math.pi * _progress(step, total, warmup))",
        "math.cos(2 * math.pi * _progress(step, total, warmup))",
        OF_OPTIMIZER,
    ),
    of(
        "the pull to the start ignores the schedule",
        OPTIMIZER,
        "self._rate(group) * group.decay_to_start",
        "group.learning_rate * group.decay_to_start",
        OF_OPTIMIZER,
    ),
    of(
        "weights are pulled to 0 in place of their start",
        OPTIMIZER,
        "weight.lerp_(start, min(rate, 1.0))",
        "weight.mul_(1 - min(rate, 1.0))",
        OF_OPTIMIZER,
    ),
    of(
        "a small gradient is scaled up", OPTIMIZER, "if size > group.clip_norm:", "if size > 0:", OF_OPTIMIZER
    ),
    of(
        "one norm clips all groups",
        OPTIMIZER,
        "torch._foreach_mul_(grads, group.clip_norm / norm)",
        "torch._foreach_mul_(grads, group.clip_norm / max(norms))",
        OF_OPTIMIZER,
    ),
    of(
        "a continued run begins its schedule again",
        OPTIMIZER,
        'self.steps = int(state["steps"])',
        "self.steps = 0",
        OF_OPTIMIZER,
    ),
    of(
        "the start is part of the average of weights",
        AVERAGE,
        "list(parameters), decay, 0.0",
        "list(parameters), decay, 1.0",
        "tests/training/test_average.py",
    ),
    of(
        "an average that is biased to 0",
        AVERAGE,
        "(weight.detach().to(mean) - mean) / self._total",
        "(weight.detach().to(mean) - mean) * (1 - self._decay)",
        "tests/training/test_average.py",
    ),
    of(
        "a damaged checkpoint is loaded",
        CHECKPOINT,
        'if any(hash_file(path / name) != digest for name, digest in manifest["files"].items()):',
        'if not all((path / name).exists() for name in manifest["files"]):',
        "tests/training/test_checkpoint.py",
    ),
    of(
        "the oldest checkpoints are kept",
        CHECKPOINT,
        "_newest_first(directory)[max(scratch.keep_last, 1) :]",
        "_newest_first(directory)[: -scratch.keep_last]",
        "tests/training/test_checkpoint.py",
    ),
    of(
        "the rest of an epoch is dropped",
        FIT,
        "return -(-self.rows // self.batch_size)",
        "return max(self.rows // self.batch_size, 1)",
        f"{OF_FIT}::test_an_epoch_reads_every_row_once",
    ),
    of(
        "every epoch has the same order",
        FIT,
        'derive(self.seed, "epoch", epoch)',
        'derive(self.seed, "epoch")',
        f"{OF_FIT}::test_an_epoch_reads_every_row_once",
    ),
    of(
        "blocks of rows come in the same order every epoch",
        FIT,
        "order[turn[block[order]].argsort(stable=True)]",
        "order[block[order].argsort(stable=True)]",
        f"{OF_FIT}::test_blocks_come_in_another_order_in_every_epoch",
    ),
    of(
        "a batch is used for one epoch",
        REINFORCE,
        "if state.batch_updates == method.epochs * _count(state.past, method):",
        "if state.batch_updates == _count(state.past, method):",
        f"{OF_LOOP}::test_stopped_anywhere_and_continued_it_is_the_same_bits",
    ),
    of(
        "every epoch has the same minibatches",
        REINFORCE,
        'derive(seed, "minibatch", step, epoch)',
        'derive(seed, "minibatch", step)',
        f"{OF_LOOP}::test_minibatches_hold_every_row_once_and_groups_whole",
    ),
    of(
        "every step has the same minibatches",
        REINFORCE,
        'derive(seed, "minibatch", step, epoch)',
        'derive(seed, "minibatch", epoch)',
        f"{OF_LOOP}::test_minibatches_hold_every_row_once_and_groups_whole",
    ),
    of(
        "the controller is told KL a step",
        REINFORCE,
        "kl.coef, state.metrics[KL.name], rows",
        'kl.coef, state.metrics[KL.name] / state.metrics["length"], rows',
        OF_CONTROLLER,
    ),
    of(
        "the controller is told prompts for rows",
        REINFORCE,
        "int(state.metrics[ROWS_LEARNED.name])",
        "len(state.past.rollouts.group.unique())",
        OF_CONTROLLER,
    ),
    of(
        "the price that the controller chose is not charged",
        REINFORCE,
        "return method if coef is None else replace(method, kl=replace(method.kl, coef=coef))",
        "return method",
        f"{OF_LOOP}::test_the_control_moves_the_price_of_kl",
    ),
    of(
        "rollouts of older weights are accepted",
        REINFORCE,
        "(rollouts.version != state.step)",
        "(rollouts.version > state.step)",
        f"{OF_LOOP}::test_rollouts_of_stale_weights_are_refused",
    ),
    of(
        "KL a step is reported for KL a completion",
        "training/rollout_metrics.py",
        "wide(masked_sum(estimator(before.logprobs, reference.logprobs), mask)).mean()",
        "wide(masked_mean(estimator(before.logprobs, reference.logprobs), mask))",
        OF_CONTROLLER,
    ),
    of(
        "a price that falls where KL is too high",
        CONTROLLER,
        "coef * (1 + error",
        "coef * (1 - error",
        "tests/training/test_kl_control.py",
    ),
    of(
        "a price that may leap up",
        CONTROLLER,
        "min(max(kl / self.target - 1, -0.2), 0.2)",
        "max(kl / self.target - 1, -0.2)",
        "tests/training/test_kl_control.py",
    ),
    of(
        "the controller's horizon counts batches",
        CONTROLLER,
        "error * min(rows / self.horizon, 1.0)",
        "error * min(1 / self.horizon, 1.0)",
        "tests/training/test_kl_control.py",
    ),
    of(
        "a run ends on its last batch alone",
        SUMMARY,
        "last = rows[-max(1, len(rows) // 10) :]",
        "last = rows[-1:]",
        OF_SUMMARY,
    ),
    of(
        "the last update of a batch stands for the batch",
        SUMMARY,
        "for row in reversed(history)}",
        "for row in history}",
        OF_SUMMARY,
    ),
    of(
        "only the last comparison with the sampler is reported",
        SUMMARY,
        "max(row.get(SAMPLER_DELTA_MAX.name, 0.0) for row in rows)",
        "rows[-1].get(SAMPLER_DELTA_MAX.name, 0.0)",
        OF_SUMMARY,
    ),
    of(
        "batches are counted for answers",
        SUMMARY,
        "int(sum(row[ROWS_LEARNED.name] for row in rows))",
        "len(rows)",
        OF_SUMMARY,
    ),
    of(
        "reinforcement's schedule counts batches for updates",
        RL_OPTIMIZER,
        "updates = stage.steps * stage.method.epochs * stage.method.minibatches",
        "updates = stage.steps",
        OF_RATES,
    ),
    of(
        "a critic that learns at the policy's rate",
        RL_OPTIMIZER,
        "learning_rate=stage.critic_learning_rate",
        "learning_rate=stage.learning_rate",
        OF_RATES,
    ),
    of(
        "control's schedule counts batches for updates",
        CONTROL,
        "schedule=linear(self._updates)",
        "schedule=linear(self.steps)",
        "tests/stages/test_control.py",
    ),
    of(
        "in control the critic learns at the policy's rate",
        CONTROL,
        'rates["critic"] = self.critic_learning_rate',
        'rates["critic"] = self.learning_rate',
        "tests/stages/test_control.py",
    ),
    of(
        "every update reads the same pretraining text",
        "stages/mixing_in.py",
        "for index in plan.at(updates)]",
        "for index in plan.at(0)]",
        "tests/stages/test_mixing_in.py",
    ),
    of(
        "learned rewards end on the last batch alone",
        "stages/play_metrics.py",
        "last = rows[-max(1, len(rows) // 10) :]",
        "last = rows[-1:]",
        "tests/stages/test_control.py",
    ),
]
