"""Direct alignment: from comparisons to a policy, without a reward model and without sampling."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from posttrain.checks import prefers_the_chosen
from posttrain.core.batch import DirectAlignment, Evaluation, Judged, Term, Wants
from posttrain.core.reduction import chosen_mean
from posttrain.direct_alignment.dpo import DPO
from posttrain.direct_alignment.sft import SFT
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.stage import Compute, Estimate, Inputs, Machine, Report, Stage, later
from posttrain.stages.fitting import Fitting, mismatched, pairs, ratings

if TYPE_CHECKING:
    from torch import Tensor

    from posttrain.models.collate import Row
    from posttrain.models.lora import Lora


@dataclass(frozen=True, kw_only=True)
class Said:
    """Answers to one prompt and their ranks, 0 wanted; or one answer alone, of rank 0 or 1."""

    rows: list[Row]
    ranks: list[int]
    sure: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Alignment(Stage):  # size: a model, its data and how it is trained
    """Trains ``policy`` on ``comparisons``. The reference is ``policy`` as it came, read once, before the
    first update; a method without one does not read it.

    ``comparisons`` are pairs, or for KTO also answers that were rated alone. A method that measures the
    current policy (KTO) also reads each prompt with the answer to another. ``sft_coef`` adds the negative
    log-likelihood of chosen answers to any method's loss (Liu et al. 2024, RPO).
    """

    address = "alignment"
    positive = ("learning_rate", "batch_size", "epochs", "max_length")
    policy: Stage
    comparisons: Stage
    method: DirectAlignment = field(default_factory=DPO)
    learning_rate: float = 1e-4
    batch_size: int = 32  # pairs
    epochs: int = 1
    warmup: int = 10
    max_length: int = 256
    lora: Lora | None = None
    seed: int = 0
    sft_coef: float = later(0.0)
    decay_to_start: float = later(0.0)  # weight decay towards the reference
    compute: Compute = later("float32")  # of matrix products; weights and heads stay in float32

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.method, SFT):
            raise UserError("sft learns from demonstrations and would copy both answers; give another method")

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes the policy (and its adapter in ``adapter/``) and ``metrics.jsonl``."""
        from posttrain.data.jsonl import read_jsonl
        from posttrain.models.chat import Chat
        from posttrain.models.roles import Place, open_policy
        from posttrain.training.optimizer import Group

        source = inputs["comparisons"].path
        place = Place(device=machine.device, compute=self.compute)
        roles = open_policy(inputs["policy"].path, lora=self.lora, seed=self.seed, place=place)
        chat, policy = Chat(roles.tokenizer), roles.policy
        train, counts = self._read(chat, read_jsonl(source / "train.jsonl"))
        held, _ = self._read(chat, read_jsonl(source / "heldout.jsonl"))
        if not train:
            raise UserError(
                f"no comparison can be learned from: {counts}; ties and equal answers teach nothing"
            )
        batches = Batches.of(train, self.method, policy, chat.pad_id, machine)
        unseen = Batches.of(held, self.method, policy, chat.pad_id, machine)
        plan = Fitting(
            name=self.name or self.address,
            rows=len(train),
            batch_size=self.batch_size,
            epochs=self.epochs,
            warmup=self.warmup,
            seed=self.seed,
            shown=["accuracy", "gap"],
        )
        history = plan.run(
            Group(
                name="policy",
                parameters=policy.parameters_of("policy"),
                learning_rate=self.learning_rate,
                decay_to_start=self.decay_to_start,
            ),
            lambda past: policy.evaluate(past.rollouts, self.method.wants),
            self.method if self.sft_coef == 0 else Imitating(self.method, self.sft_coef),
            batches.at,
            output,
            machine,
        )
        after = _held(policy, self.method, unseen, machine)
        roles.save(output)
        last = history[-max(1, len(history) // 10) :]
        shown = {
            f"{name}_final": sum(row[name] for row in last) / len(last)
            for name in ("accuracy", "reward_chosen", "reward_rejected", "baseline")
            if name in last[0]
        }
        return Report(figures=after | shown | {"rows": len(train), "updates": len(history), **counts})

    def _read(self, chat: Any, rows: Sequence[Mapping[str, Any]]) -> tuple[list[Said], dict[str, int]]:
        if rows and "label" in rows[0]:
            if self.method.wants.whole_groups:
                raise UserError(
                    f"{type(self.method).__name__} compares two answers, and these rows rate one each: use "
                    f"{self.name or self.address}.method=kto, or rows with chosen and rejected"
                )
            alone, counts = ratings(chat, rows, self.max_length)
            return [Said(rows=[row], ranks=[0 if wanted else 1]) for row, wanted in alone], counts
        compared, counts = pairs(chat, rows, self.max_length)
        said = [Said(rows=[p.chosen, p.rejected], ranks=[0, 1], sure=p.confidence) for p in compared]
        return said, counts

    def gates(self, report: Report) -> list[Finding]:
        return [prefers_the_chosen.check(report.figures)]

    def rehearsal(self) -> Alignment:
        return replace(self, epochs=1, batch_size=8)

    def estimate(self, inputs: Inputs, machine: Machine) -> Estimate | None:
        from posttrain.pipeline.sizes import Rows, Size

        size, rows = Size.of(inputs.get("policy")), Rows.of(inputs.get("comparisons"))
        if size is None or rows is None:
            return None
        pair = min(1.3 * rows.row_tokens, 2 * self.max_length)  # the prompt is read with both answers
        pair *= 1.5 if self.method.wants.measure else 1
        learned = rows.rows * self.epochs * pair
        read = rows.heldout_rows * pair + (learned if self.method.wants.measure else 0)
        if self.method.wants.reference:
            read += (rows.rows + rows.heldout_rows) * pair
        at_once = min(machine.micro_batch_tokens, self.batch_size * pair)
        share = 1.0 if self.lora is None else 0.0
        return Estimate(
            tokens=int(learned + read),
            operations=size.learning(learned, share) + size.reading(read),
            bytes=size.training_bytes(at_once, share),
            expects=size.figures(),
        )


@dataclass(frozen=True)
class Imitating:
    """A method, and ``coef`` times the negative log-likelihood of the chosen answers beside it."""

    method: DirectAlignment
    coef: float

    @property
    def wants(self) -> Wants:
        return self.method.wants

    def measure(self, now: Evaluation, past: Judged) -> Judged:
        return self.method.measure(now, past)

    def loss(self, now: Evaluation, past: Judged) -> dict[str, Term]:
        imitation = Term(-now.logprobs, chosen_mean, self.coef)
        return {**self.method.loss(now, past), "sft_nll": imitation}


@dataclass(frozen=True, kw_only=True)
class Batches:
    """What was said, with what the reference says of it."""

    said: list[Said]
    reference: list[list[Tensor]] | None  # log-probabilities of each row's chosen steps
    pad_id: int

    @classmethod
    def of(
        cls, said: Sequence[Said], method: DirectAlignment, policy: Any, pad_id: int, machine: Machine
    ) -> Batches:
        """The reference is ``policy`` as it is now."""
        said = list(said)
        if method.wants.measure and len(said) > 1:
            others = [mismatched(one.rows[0], said[i - 1].rows[-(i % 2)]) for i, one in enumerate(said)]
            said = [
                replace(one, rows=[*one.rows, other], ranks=[*one.ranks, -1])
                for one, other in zip(said, others, strict=True)
            ]
        made = cls(said=said, reference=None, pad_id=pad_id)
        if not method.wants.reference or not said:
            return made
        flat = iter(_logprobs(policy, [row for one in said for row in one.rows], pad_id, machine))
        return replace(made, reference=[[next(flat) for _ in one.rows] for one in said])

    def at(self, places: Sequence[int]) -> Any:
        """What was said at these places as Judged rows: each a group, a mismatched answer of rank -1."""
        import torch

        from posttrain.core.preferences import ranked
        from posttrain.models.collate import rollouts

        chosen = [self.said[place] for place in places]
        rows = [replace(row, group=n) for n, one in enumerate(chosen) for row in one.rows]
        past = ranked(
            rollouts(rows, self.pad_id),
            torch.tensor([rank for one in chosen for rank in one.ranks]),
            torch.tensor([one.sure for one in chosen for _ in one.rows]),
        )
        if self.reference is None:
            return past
        mask = past.rollouts.action_mask
        flat = torch.cat([said for place in places for said in self.reference[place]])
        return replace(
            past, reference=Evaluation(logprobs=flat.new_zeros(mask.shape).masked_scatter(mask, flat))
        )


def _logprobs(policy: Any, rows: Sequence[Row], pad_id: int, machine: Machine) -> list[Tensor]:
    """Of each row, [its chosen steps]."""
    from posttrain.models.collate import rollouts
    from posttrain.training.evaluate import in_slices
    from posttrain.training.update import cut

    batch = rollouts([replace(row, group=-1) for row in rows], pad_id)
    slices = cut(batch, machine.micro_batch_tokens)
    said = in_slices(lambda part: policy.evaluate(part, Wants(before=False, entropy=False)), batch, slices)
    return [own[mask].cpu() for own, mask in zip(said.logprobs, batch.action_mask, strict=True)]


def _held(policy: Any, method: DirectAlignment, held: Batches, machine: Machine) -> dict[str, Any]:
    """How often the method's own reward is higher for what was chosen, on held-out comparisons; where answers
    were rated alone, how often it has the sign of the rating."""
    from posttrain.core.implicit_reward import log_ratio, pair_figures
    from posttrain.core.preferences import pairs as of_rows
    from posttrain.evaluation.intervals import wilson, with_interval
    from posttrain.training.evaluate import in_slices
    from posttrain.training.update import cut

    if not held.said:
        return {"label_accuracy": "unknown"}
    past = held.at(range(len(held.said)))
    forward: Callable[[Any], Any] = lambda part: policy.evaluate(part.rollouts, method.wants)  # noqa: E731
    now = in_slices(forward, past, cut(past.rollouts, machine.micro_batch_tokens))
    if method.wants.measure:
        past = method.measure(now, past)
    terms, between = method.loss(now, past), of_rows(past)
    if len(between.winner) and not method.wants.whole_groups:  # it judges rows alone, and these are pairs
        h = log_ratio(now, past)
        terms |= pair_figures(h[between.winner], h[between.loser], between, len(h))
    found = {name: float((term.reduction(past) * term.values).sum()) for name, term in terms.items()}
    right = round(found.pop("accuracy") * len(held.said))
    return with_interval("label_accuracy", wilson(right, len(held.said))) | {
        f"{name}_heldout": value for name, value in found.items()
    }
