"""Mistakes in what is measured, in gates, and in what a report says."""

# size: a table, one entry a mistake

from __future__ import annotations

from mutations.mutation import of

INTERVALS, COMPARE, SEVERAL = (f"evaluation/{name}.py" for name in ("intervals", "compare", "several"))
ACCURACY, PASS = "evaluation/reward_accuracy.py", "evaluation/pass_at_k.py"
OF_INTERVALS, OF_COMPARE, OF_SEVERAL, OF_ACCURACY, OF_PASS = (
    f"tests/evaluation/test_{name}.py"
    for name in ("intervals", "compare", "several", "reward_accuracy", "pass_at_k")
)
OF_CHECKS, OF_PARTS, OF_PAGE = (
    "tests/checks/test_checks.py",
    "tests/report/test_parts.py",
    "tests/report/test_page.py",
)
OF_CHANGE = f"{OF_PAGE}::test_a_change_in_gold_is_claimed_only_outside_its_interval"
OF_VERDICT = f"{OF_PAGE}::test_the_verdict_follows_the_interval"

MUTATIONS = [
    of(
        "pass@k by the biased formula",
        PASS,
        "1.0 - math.comb(n - c, k) / math.comb(n, k)",
        "1.0 - (1 - c / n) ** k",
        OF_PASS,
    ),
    of(
        "pass@k of all k answers right",
        PASS,
        "1.0 - math.comb(n - c, k) / math.comb(n, k)",
        "math.comb(c, k) / math.comb(n, k)",
        OF_PASS,
    ),
    of(
        "a 90 % interval of a share",
        INTERVALS,
        "Z = 1.959963984540054",
        "Z = 1.644853626951472",
        OF_INTERVALS,
    ),
    of(
        "Wald's interval for Wilson's",
        INTERVALS,
        "half = Z / (1 + Z * Z / n) * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))",
        "centre, half = share, Z * math.sqrt(share * (1 - share) / n)",
        OF_INTERVALS,
    ),
    of(
        "a 90 % interval of a mean",
        INTERVALS,
        "means[int(0.025 * resamples)], means[int(0.975 * resamples) - 1]",
        "means[int(0.05 * resamples)], means[int(0.95 * resamples) - 1]",
        OF_INTERVALS,
    ),
    of(
        "the interval of a mean is that of half the values",
        INTERVALS,
        "torch.randint(n, (resamples, n)",
        "torch.randint(n, (resamples, (n + 1) // 2)",
        OF_INTERVALS,
    ),
    of(
        "a tie is a win",
        COMPARE,
        "1.0 if gap > SAME else 0.5 if",
        "1.0 if gap > SAME else 1.0 if",
        OF_COMPARE,
    ),
    of(
        "the worst component is the best",
        COMPARE,
        "worst = min(worst, change.value)",
        "worst = max(worst, change.value) if worst < math.inf else change.value",
        OF_COMPARE,
    ),
    of(
        "a component counts where it does not apply",
        COMPARE,
        "for name in before.parts.keys() & after.parts.keys():",
        "for name in before.parts.keys():",
        f"{OF_COMPARE}::test_a_component_is_compared_where_it_applies_to_both",
    ),
    of(
        "answers are counted with those that did not end",
        COMPARE,
        "wilson(sum(answers.ended), len(answers.ended))",
        "wilson(len(answers.ended), len(answers.ended))",
        f"{OF_COMPARE}::test_what_one_model_said_by_itself",
    ),
    of(
        "a family has the mean of all",
        COMPARE,
        "found.setdefault(family, []).append(judgement.total)",
        'for every in {str(p["item"]["family"]) for p in prompts}:\n'
        "                found.setdefault(every, []).append(judgement.total)",
        f"{OF_COMPARE}::test_families_have_their_own_means",
    ),
    of(
        "the slope over policies of their sum",
        SEVERAL,
        "zip(places, totals, strict=True)) / square",
        "zip(places, totals, strict=True))",
        f"{OF_SEVERAL}::test_the_slope_is_what_each_round_adds",
    ),
    of(
        "the last is compared with itself",
        SEVERAL,
        "(policies[:1] if row > 2 else [])",
        "(policies[-1:] if row > 2 else [])",
        OF_SEVERAL,
    ),
    of(
        "changes in what is solved are turned round",
        SEVERAL,
        "gaps = [a - b for a, b in zip(right[now], right[before], strict=True)]",
        "gaps = [b - a for a, b in zip(right[now], right[before], strict=True)]",
        OF_SEVERAL,
    ),
    of(
        "gold over steps is one step early",
        "evaluation/over_time.py",
        'int(episode["step"]) + 1',
        'int(episode["step"])',
        OF_ACCURACY,
    ),
    of(
        "pairs that gold ties count as wrong",
        ACCURACY,
        "if gap is None or gap == 0 or abs(gap) < least:",
        "if gap is None or abs(gap) < least:",
        OF_ACCURACY,
    ),
    of(
        "equal scores are right",
        ACCURACY,
        "right += 0.5 if difference == 0 else",
        "right += 1.0 if difference == 0 else",
        OF_ACCURACY,
    ),
    of(
        "the control by words is its worse direction",
        ACCURACY,
        "by_words = max(",
        "by_words = min(",
        OF_ACCURACY,
    ),
    of(
        "an annotator's ties are wrong",
        ACCURACY,
        'if gap and row.get("choice") in ("a", "b"):',
        "if gap:",
        OF_ACCURACY,
    ),
    of(
        "text that fills the context is left out",
        "evaluation/text_loss.py",
        "if len(row.ids) <= context]",
        "if len(row.ids) < context]",
        "tests/evaluation/test_text_loss.py",
    ),
    of(
        "KL a step for KL an answer",
        "evaluation/answering.py",
        "masked_sum(found.kl, batch.action_mask).tolist()",
        "(masked_sum(found.kl, batch.action_mask) / batch.action_mask.sum(1)).tolist()",
        "tests/evaluation/test_answering.py",
    ),
    of(
        "KL of the reference from the policy",
        "evaluation/answering.py",
        "now, still = (LanguagePolicy(model)",
        "still, now = (LanguagePolicy(model)",
        "tests/evaluation/test_answering.py",
    ),
    of(
        "several answers to one prompt from one seed",
        "evaluation/answering.py",
        'derive(seed, "evaluation", row) for row',
        'derive(seed, "evaluation", row // each) for row',
        "tests/evaluation/test_answering.py",
    ),
    of(
        "what is left of the optimum is turned round",
        "evaluation/solved.py",
        '"share_of_optimum": own / best',
        '"share_of_optimum": best / own',
        "tests/evaluation/test_solved.py",
    ),
    of(
        "a KL budget that is a floor",
        "checks/kl_budget.py",
        "passed=kl <= BUDGET",
        "passed=kl >= BUDGET",
        OF_CHECKS,
    ),
    of(
        "a reward that stayed rose",
        "checks/reward_rose.py",
        "passed=final > start or",
        "passed=final >= start or",
        OF_CHECKS,
    ),
    of(
        "a preference is above chance without its interval",
        "checks/prefers_the_chosen.py",
        "(isinstance(low, int | float) and low > 0.5)",
        "float(value) > 0.5",
        OF_CHECKS,
    ),
    of(
        "a reward model is above chance without its interval",
        "checks/ranks_better_than_chance.py",
        "(isinstance(low, int | float) and low > 0.5)",
        "float(value) > 0.5",
        OF_CHECKS,
    ),
    of(
        "more is solved without an interval",
        "checks/solves_more.py",
        "passed=float(low) > 0",
        "passed=float(change) > 0",
        OF_CHECKS,
    ),
    of(
        "better than random without an interval",
        "checks/better_than_random.py",
        "passed=low > high",
        "passed=own > chance",
        "tests/checks/test_better_than_random.py",
    ),
    of(
        "one prompt that fits is not enough",
        "checks/reward_fits.py",
        "passed=fitting > 0",
        "passed=fitting == rows",
        "tests/checks/test_reward_fits.py",
    ),
    of(
        "a number with a digit too many",
        "report/scale.py",
        "max(0, digits - 1 - math.floor(math.log10(size)))",
        "max(0, digits - math.floor(math.log10(size)))",
        OF_PARTS,
    ),
    of(
        "a minute of a hundred seconds",
        "report/scale.py",
        "minutes, rest = divmod(round(seconds), 60)",
        "minutes, rest = divmod(round(seconds), 100)",
        OF_PARTS,
    ),
    of(
        "a curve of last updates",
        "report/record.py",
        "math.fsum(values) / len(values)",
        "values[-1]",
        OF_PARTS,
    ),
    of(
        "the largest ratio is a mean",
        "report/record.py",
        'max(values) if name.endswith("_max") else',
        'max(values) if name.endswith("_min") else',
        OF_PARTS,
    ),
    of(
        "an interval turned round",
        "report/figures.py",
        "low, high = float(figures[name + down]), float(figures[name + up])",
        "low, high = float(figures[name + up]), float(figures[name + down])",
        OF_PARTS,
    ),
    of(
        "better where the share is, whatever the interval",
        "report/story.py",
        "elif interval[0] > 0.5:",
        "elif figure.number > 0.5:",
        OF_VERDICT,
    ),
    of(
        "over-optimized where gold fell at all",
        "report/story.py",
        "fell = interval[1] < 0",
        "fell = truth[1] < truth[0]",
        OF_CHANGE,
    ),
    of(
        "a clear change whose interval has 0",
        "report/story.py",
        "if interval[0] <= 0 <= interval[1]:",
        "if interval[0] == 0 == interval[1]:",
        OF_CHANGE,
    ),
    of(
        "a reward rose whose intervals overlap",
        "report/story.py",
        "if before[1].interval[1] < after[1].interval[0]:",
        "if before[1].number < after[1].number:",
        f"{OF_PAGE}::test_a_reward_whose_intervals_overlap_did_not_clearly_change",
    ),
    of(
        "play is better than chance whose intervals overlap",
        "report/returns.py",
        "own.interval[0] > chance.interval[1]",
        "own.number > chance.number",
        "tests/report/test_returns.py",
    ),
    of(
        "before and after swapped in a picture",
        "report/measured.py",
        "before=of[ends[0]], after=of[ends[1]]",
        "before=of[ends[1]], after=of[ends[0]]",
        "tests/report/test_returns.py",
    ),
    of(
        "a rise is marked as a fall",
        "report/dots.py",
        "bad = row.after - row.before < -fall",
        "bad = row.after - row.before > fall",
        "tests/report/test_returns.py",
    ),
    of(
        "prompts are shown in the order of the file",
        "report/samples.py",
        "sorted((row for row in rows if answers(row)), key=draw)",
        "[row for row in rows if answers(row)]",
        OF_PARTS,
    ),
]
