"""Mistakes in chat, collation, packing, adapters, and what models say and score."""

# size: a table, one entry a mistake

from __future__ import annotations

from mutations.mutation import of

CHAT, COLLATE, TREE, LORA = "models/chat.py", "models/collate.py", "models/tree.py", "models/lora.py"
LANGUAGE, MLP = "models/language_policy.py", "models/mlp.py"
OF_CHAT, OF_TREE, OF_ROLES = (f"tests/models/test_{name}.py" for name in ("chat", "tree", "roles"))
OF_LANGUAGE, OF_MLP, OF_COLLATE = (
    f"tests/models/test_{name}.py" for name in ("language_policy", "mlp", "collate")
)
OF_MERGED = f"{OF_ROLES}::test_a_policy_product_is_a_plain_model_that_carries_its_critic"
OF_PEFT = f"{OF_ROLES}::test_peft_reads_the_adapter_and_the_adapter_is_read_back"

MUTATIONS = [
    of(
        "the reward on the pad",
        COLLATE,
        "rewards[i, mask.nonzero()[-1]] = row.reward",
        "rewards[i, (mask.nonzero()[-1] + 1).clamp(max=T - 1)] = row.reward",
        OF_LANGUAGE,
        "tests/rollouts/test_collect.py",
    ),
    of(
        "actions are one step late",
        COLLATE,
        "action_mask=said[:, 1:]",
        "action_mask=said[:, :-1]",
        OF_COLLATE,
    ),
    of("rows without a group are one group", COLLATE, "free += row.group < 0", "free += 0", OF_COLLATE),
    of(
        "all turns of a conversation are one decision",
        COLLATE,
        ".long().cumsum(1).sub(1).clamp(min=0)",
        ".long().sub(1).clamp(min=0)",
        OF_COLLATE,
    ),
    of(
        "log-probabilities from the first step on",
        COLLATE,
        "logprobs[i, mask] = torch",
        "logprobs[i, : int(mask.sum())] = torch",
        OF_COLLATE,
    ),
    of("the end of a turn is not learned", CHAT, "heard = stops[-1] + 1", "heard = stops[-1]", OF_CHAT),
    of(
        "what follows the end of a turn is learned",
        CHAT,
        "heard = stops[-1] + 1",
        "heard = len(spoken)",
        OF_CHAT,
    ),
    of("two BOS", CHAT, "return ids[extra:], mask[extra:]", "return ids, mask", OF_CHAT),
    of(
        "plain text without a BOS",
        CHAT,
        "return ids if self._bos is None else [self._bos, *ids]",
        "return ids",
        OF_CHAT,
    ),
    of(
        "positions of a branch begin again",
        TREE,
        "torch.arange(shared[row], len(rows[row]))",
        "torch.arange(len(rows[row]) - shared[row])",
        OF_TREE,
    ),
    of(
        "a branch does not see its last shared token",
        TREE,
        "last = (length - own)[:, None] + step",
        "last = (length - own)[:, None] + step - 1",
        OF_TREE,
    ),
    of(
        "a branch sees what follows",
        TREE,
        "sees = (key <= last[..., None]) &",
        "sees = (key <= last[..., None] + 1) &",
        OF_TREE,
    ),
    of(
        "rows share one token more than they do",
        TREE,
        "next((i for i in range(least) if a[i] != b[i]), least)",
        "min(next((i for i in range(least) if a[i] != b[i]), least) + 1, least)",
        OF_TREE,
    ),
    of(
        "an adapter's alpha is not divided by its rank",
        LORA,
        "self.scale = settings.alpha / settings.rank",
        "self.scale = settings.alpha",
        OF_PEFT,
    ),
    of(
        "an adapter is merged without its scale",
        LORA,
        "return (self.B[key] @ self.A[key]) * self.scale",
        "return self.B[key] @ self.A[key]",
        OF_MERGED,
    ),
    of(
        "an adapter is taken away where it is merged",
        LORA,
        "(tensor.to(change.dtype) + change)",
        "(tensor.to(change.dtype) - change)",
        OF_MERGED,
    ),
    of(
        "a new adapter changes the model",
        LORA,
        "torch.zeros(out, settings.rank, dtype=dtype",
        "torch.ones(out, settings.rank, dtype=dtype",
        f"{OF_ROLES}::test_at_step_zero_ratio_is_exactly_one_and_kl_exactly_zero",
    ),
    of(
        "the worn adapter stays on",
        LORA,
        "        _worn.reset(token)",
        "        pass",
        f"{OF_ROLES}::test_what_is_worn_is_taken_off_again",
    ),
    of(
        "answers that end elsewhere are one answer",
        LANGUAGE,
        "kind = torch.cat([torch.where(real, tokens, -1), rollouts.action_mask.long()], 1)",
        "kind = torch.where(real, tokens, -1)",
        f"{OF_LANGUAGE}::test_rows_of_the_same_tokens_are_read_where_each_of_them_ends",
    ),
    of(
        "the critic's parameters are the policy's as well",
        LANGUAGE,
        "if id(p) not in taken] if self.critic",
        "] if self.critic",
        f"{OF_LANGUAGE}::test_a_critic_on_the_trunk_of_the_policy_is_a_group_of_its_own",
        "tests/models/test_language_policy.py::test_parameters_that_roles_share_are_the_policys",
    ),
    of(
        "a critic's bootstrap is its value before the last step",
        LANGUAGE,
        "ends.append(critic.scalar(seen[part.ends]))",
        "ends.append(critic.scalar(seen[part.ends - 1]))",
        OF_LANGUAGE,
    ),
    of(
        "the likelihood of all answers where some were asked for",
        LANGUAGE,
        "return scores[each], logprobs[each] * said[:, None]",
        "return scores[each], logprobs[each]",
        f"{OF_LANGUAGE}::test_an_answer_that_comes_twice_is_read_once_and_counts_twice",
    ),
    of(
        "in control the temperature is missing",
        MLP,
        "log_p = (self.logits(at) / warmth).log_softmax(-1)",
        "log_p = self.logits(at).log_softmax(-1)",
        OF_MLP,
        "tests/rollouts/test_play.py::test_trainer_and_player_agree",
    ),
    of(
        "in control the bootstrap is of the last state that was acted in",
        MLP,
        "lengths(mask)]",
        "lengths(mask) - 1]",
        OF_MLP,
    ),
    of(
        "a learned reward that does not look at what was done",
        MLP,
        "torch.cat([_gather(observations, mask), taken], -1)",
        "torch.cat([_gather(observations, mask), taken * 0], -1)",
        OF_MLP,
    ),
    of(
        "rows of different comparisons are one group",
        "models/said_on_disk.py",
        "bisect_right(self._ends, at) - 1",
        "(bisect_right(self._ends, at) - 1) // 2",
        "tests/models/test_said_on_disk.py",
    ),
    of(
        "nats a row for nats a token",
        "rollouts/in_parts.py",
        "return total / steps if steps else",
        "return total / len(rows) if steps else",
        "tests/rollouts/test_in_parts.py",
    ),
    of(
        "a cut answer is read as ended",
        "stages/fitting.py",
        'row.get(f"{name}_ended", True)',
        "True",
        "tests/stages/test_endings.py",
    ),
    of(
        "a cut rejected answer is read as ended",
        "stages/fitting.py",
        'row.get(f"{name}_ended", True)',
        'row.get("chosen_ended", True)',
        "tests/stages/test_endings.py",
    ),
    of(
        "a cut answer keeps the token that ends a turn",
        "rollouts/reread.py",
        "ids, mask = ids[:last], mask[:last]",
        "mask = [*mask[:last], False]",
        "tests/stages/test_endings.py",
    ),
    of(
        "labels swap how both sides ended",
        "stages/labels.py",
        '(b, a) if row["choice"] == "b" else (a, b)\n        made',
        '(a, b) if row["choice"] == "b" else (b, a)\n        made',
        "tests/stages/test_endings.py",
    ),
    of(
        "KTO's mismatched answer is the prompt's own",
        "stages/alignment.py",
        "said[place - 1].rows[",
        "one.rows[",
        "tests/stages/test_alignment.py::test_ktos_baseline_is_of_answers_to_other_prompts",
    ),
    of(
        "a mismatched answer replaces the whole conversation",
        "stages/fitting.py",
        "return max(place for place in range(end) if not row.mask[place]) + 1",
        "return list(row.mask).index(True)",
        "tests/stages/test_alignment.py::test_a_mismatched_row_keeps_the_turns_before",
    ),
    of(
        "ties are learned from",
        "stages/fitting.py",
        'counts["ties"] += 1\n            continue',
        'counts["ties"] += 1',
        "tests/stages/test_endings.py",
    ),
    of(
        "a pair whose votes are split is as sure as any",
        "stages/fitting.py",
        'float(row.get("confidence", 1.0))',
        "1.0",
        "tests/stages/test_endings.py",
    ),
    of(
        "the margin of a pair stands at both rows",
        "stages/fitting.py",
        "one.margin if rank == 0 else 0.0",
        "one.margin",
        "tests/stages/test_endings.py",
    ),
]
