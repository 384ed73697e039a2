"""Mistakes in what a killed run goes on from: what is not restored, restored twice, or saved too early."""

# size: a table, one entry a mistake

from __future__ import annotations

from mutations.mutation import of

DRIVE, CHECKPOINT, OPTIMIZER = "training/drive.py", "training/checkpoint.py", "training/optimizer.py"
LOOP, FIT, AVERAGE = "training/rl_loop.py", "training/fit.py", "training/average.py"
ONLINE, COLLECTED, SCALED = "rollouts/online_reward.py", "rollouts/collected.py", "rollouts/scaled.py"
ALIGNMENT, CHUNKS, SAMPLE = "stages/alignment.py", "storage/chunks.py", "rollouts/sample.py"

OF_DRIVE = "tests/training/test_drive.py"
ANYWHERE = f"{OF_DRIVE}::test_killed_after_any_update_it_ends_with_the_same_bits"
STAGES = "tests/stages/test_killed_stages.py"
PLAY, ALIGNED, LANGUAGE = (
    f"{STAGES}::test_play",
    f"{STAGES}::test_direct_alignment",
    f"{STAGES}::test_answers",
)
OF_CHUNKS, OF_CHECKPOINT = "tests/storage/test_chunks.py", "tests/training/test_checkpoint.py"
REFERENCE = "            limit = machine.micro_batch_tokens\n"
LOADED = """            limit = machine.micro_batch_tokens
            chunks = NOT_KEPT
            from safetensors.torch import load_file

            files = machine.scratch.directory.glob("checkpoints/step-*/optimizer.safetensors")
            for saved in [load_file(file) for file in sorted(files)][-1:]:
                for number, weight in enumerate(policy.parameters_of("policy")):
                    weight.data.copy_(saved[str(number)])
"""
RESTORED = "            setattr(self, name, state[name])\n"


def without(name: str) -> str:
    """All are restored but this."""
    return f'            setattr(self, name, getattr(self, name) if name == "{name}" else state[name])\n'


MUTATIONS = [
    of(
        "the coefficient of KL begins anew",
        LOOP,
        'self.step, self.kl_coef = state["step"], state["kl_coef"]',
        'self.step = state["step"]',
        ANYWHERE,
    ),
    of(
        "the step begins anew",
        LOOP,
        'self.step, self.kl_coef = state["step"], state["kl_coef"]',
        'self.kl_coef = state["kl_coef"]',
        ANYWHERE,
    ),
    of("the step of a fit begins anew", FIT, 'self.step = state["step"]', "pass", ALIGNED),
    of(
        "the average of the weights begins anew",
        AVERAGE,
        "            mean.copy_(saved)",
        "            pass",
        ANYWHERE,
    ),
    of("the weight of the average begins anew", AVERAGE, 'self._total = state["total"]', "pass", ANYWHERE),
    of("Adam's moments begin anew", OPTIMIZER, 'self._adam.load_state_dict(state["adam"])', "pass", ANYWHERE),
    of("the weights begin anew", OPTIMIZER, "weight.copy_(saved)", "pass", ANYWHERE),
    of(
        "the updates that were made are not counted",
        OPTIMIZER,
        'self.steps = int(state["steps"])',
        "pass",
        ANYWHERE,
    ),
    of(
        "weights decay to where they were when the run went on",
        OPTIMIZER,
        'zip(self._starts, state["starts"], strict=True)',
        "zip(self._starts, [g.parameters if g.decay_to_start else [] for g in self.groups], strict=True)",
        ALIGNED,
    ),
    of(
        "saved before what follows an update",
        DRIVE,
        "                line = after(row)\n",
        "                whole() and saver.save()\n                line = after(row)\n",
        ANYWHERE,
    ),
    of(
        "a log is not cut back",
        DRIVE,
        "            log.cut(newest.sizes.get(log.path.name, 0) if newest else 0)",
        "            pass",
        ANYWHERE,
    ),
    of(
        "the report has this attempt's updates alone",
        DRIVE,
        "            return read_metrics(metrics.path)",
        "            went_on = self.scratch.resumed[-1:] if self.scratch else []\n"
        "            return read_metrics(metrics.path)[sum(int(one.split()[-1]) for one in went_on) :]",
        ANYWHERE,
    ),
    of(
        "saved between two updates of a batch, and its rest forgotten",
        LOOP,
        "        return self.past is None\n",
        "        return True\n",
        ANYWHERE,
    ),
    of(
        "a checkpoint is loaded after the loop began",
        DRIVE,
        "            rows = iter(()) if saver.load() else loop\n",
        "            from itertools import chain\n\n"
        "            begun = [next(loop)]\n"
        "            rows = iter(()) if saver.load() else chain(begun, loop)\n",
        ANYWHERE,
    ),
    of("the reference of DPO is read of weights that learned", ALIGNMENT, REFERENCE, LOADED, ALIGNED),
    *(
        of(f"the learned reward forgets {name}", ONLINE, RESTORED, without(name), PLAY)
        for name in ("offset", "untrained", "asked", "learned", "answered", "last_metrics")
    ),
    of(
        "answers that are still to come are forgotten",
        ONLINE,
        'for due, judged in state["waiting"]]',
        "for due, judged in []]",
        PLAY,
    ),
    of(
        "the learned reward's network begins anew",
        ONLINE,
        'self.optimizer.load_state_dict(state["optimizer"])',
        "pass",
        PLAY,
    ),
    of(
        "the learned reward's moments of observations begin anew",
        ONLINE,
        'buffer.copy_(state["buffers"][name])',
        "pass",
        PLAY,
    ),
    of(
        "observations are seen twice",
        COLLECTED,
        "if self.last is not None and version > self.observed:",
        "if self.last is not None:",
        PLAY,
    ),
    of(
        "the moments of observations begin anew",
        COLLECTED,
        'buffer.copy_(state["buffers"][name])',
        "pass",
        PLAY,
    ),
    of("the unit of rewards begins anew", SCALED, 'self.sums.load_state_dict(state["sums"])', "pass", PLAY),
    of(
        "a chunk is used for one of other inputs",
        CHUNKS,
        "            if wanted is not None and value != wanted:",
        "            if False:",
        OF_CHUNKS,
    ),
    of(
        "a damaged chunk is used",
        CHUNKS,
        'if not line.endswith(b"\\n") or hashlib.sha256(text).hexdigest().encode() != digest:',
        'if not line.endswith(b"\\n"):',
        OF_CHUNKS,
    ),
    of(
        "a chunk's answers are drawn from seeds that begin anew",
        SAMPLE,
        "    numbers = range(piece.start * each, piece.stop * each)",
        "    numbers = range(len(repeated))",
        f"{STAGES}::test_answers_do_not_depend_on_the_size_of_a_chunk",
    ),
    of(
        "a checkpoint of other inputs is loaded",
        CHECKPOINT,
        '    if manifest["identity"] != identity:',
        "    if False:",
        OF_CHECKPOINT,
    ),
]
