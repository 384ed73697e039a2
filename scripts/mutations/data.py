"""Mistakes in rows from files, splits, mixtures, checks of constraints, annotators and their votes."""

# size: a table, one entry a mistake

from __future__ import annotations

from mutations.mutation import of

SPLIT, JSONL, ROWS, CHECK = "data/split.py", "storage/jsonl.py", "data/rows.py", "data/validate.py"
CONSTRAINTS, MIXTURE, PROMPTS = "data/constraints.py", "stages/mixture.py", "stages/prompts.py"
SIMULATED, VOTES, AGREEMENT = "feedback/simulated.py", "feedback/votes.py", "feedback/agreement.py"
OF_SPLIT, OF_READ, OF_OWN = (
    "tests/data/test_split.py",
    "tests/data/test_read.py",
    "tests/stages/test_own_rows.py",
)
OF_CONSTRAINTS, OF_CHOICES = "tests/data/test_constraints.py", "tests/stages/test_choices.py"
OF_SIMULATED, OF_VOTES = "tests/feedback/test_simulated.py", "tests/feedback/test_votes.py"
OF_AGREEMENT = "tests/feedback/test_agreement.py"

MUTATIONS = [
    of(
        "one prompt with two answers is trained on and held out",
        SPLIT,
        "json.dumps(asked, sort_keys=True)",
        "json.dumps(row, sort_keys=True)",
        OF_SPLIT,
    ),
    of(
        "conversations of the same questions are on both sides",
        SPLIT,
        '[m for m in row[column] if m.get("role") != "assistant"]',
        "row[column]",
        OF_SPLIT,
    ),
    of("half of the share is held out", SPLIT, "heldout_share * 2**32", "heldout_share * 2**31", OF_SPLIT),
    of(
        "blank lines move every row after them",
        JSONL,
        """                self._starts.append(end)
            end += len(line)""",
        """                self._starts.append(end)
                end += len(line)""",
        "tests/storage/test_jsonl.py",
    ),
    of(
        "kinds are numbered by their hash",
        "data/dedup.py",
        "by_sight = order[is_first].argsort().argsort()",
        "by_sight = order[is_first].argsort()",
        "tests/data/test_dedup.py",
    ),
    of(
        "a slice takes every item whatever its step",
        "storage/lazy.py",
        "range(*index.indices(len(self)))]",
        "range(*index.indices(len(self))[:2])]",
        "tests/storage/test_lazy.py",
    ),
    of(
        "lines are counted from 0",
        ROWS,
        "for number, line in enumerate(lines, start=1):",
        "for number, line in enumerate(lines):",
        OF_READ,
    ),
    of(
        "bytes are counted without the ends of lines",
        ROWS,
        'at, offset = f"line {number}", offset, offset + len(line) + 1',
        'at, offset = f"line {number}", offset, offset + len(line)',
        OF_READ,
    ),
    of(
        "a row that was left out moves the numbers of the others",
        ROWS,
        "[(number, row) for number, row in enumerate(rows, start=1) if row is not None]",
        "list(enumerate((row for row in rows if row is not None), start=1))",
        OF_READ,
    ),
    of("an answer keeps the prompt that it repeats", CHECK, "value = value[len(asked) :]", "pass", OF_READ),
    of(
        "a negative margin is taken",
        CHECK,
        "not 0 <= value <= largest",
        "not -largest <= value <= largest",
        OF_READ,
    ),
    of(
        "what is not true is false",
        CHECK,
        'if truth is None:\n            self.wrong(column, f"is {shown(value)}, expected true',
        'if False:\n            self.wrong(column, f"is {shown(value)}, expected true',
        "tests/stages/test_alignment.py::test_a_label_that_is_neither_is_named",
    ),
    of(
        "copies are counted by their id",
        "data/user_rows.py",
        'if k != "id"})',
        "})",
        f"{OF_OWN}::test_a_copy_with_another_id_is_a_copy_and_of_a_comparison_a_vote",
    ),
    of(
        "a second check of one kind takes the place of the first",
        CONSTRAINTS,
        'judged.append((given["check"], check(response, **settings)))',
        'judged = [*(j for j in judged if j[0] != name), (given["check"], check(response, **settings))]',
        "tests/data/test_constraints.py",
    ),
    of(
        "more sentences than were asked for",
        CONSTRAINTS,
        "return len(parts) == count and finished and not listed and distinct(parts)",
        "return len(parts) >= count and finished and not listed and distinct(parts)",
        f"{OF_CONSTRAINTS}::test_a_check_tells_obeying_from_not",
    ),
    of(
        "a list may hold what is no item",
        CONSTRAINTS,
        "return len(items) == len(matches) == count and distinct(items)",
        "return len(items) == count and distinct(items)",
        f"{OF_CONSTRAINTS}::test_a_check_tells_obeying_from_not",
    ),
    of(
        "a word that is forbidden in capitals alone",
        CONSTRAINTS,
        "word.lower() not in text_words",
        "word not in text_words",
        f"{OF_CONSTRAINTS}::test_a_check_tells_obeying_from_not",
    ),
    of(
        "a key that is missing from JSON",
        CONSTRAINTS,
        "set(value) != set(keys)",
        "not set(value) <= set(keys)",
        f"{OF_CONSTRAINTS}::test_a_check_tells_obeying_from_not",
    ),
    of(
        "a mixture by equal shares",
        MIXTURE,
        "source.weight / total for source",
        "1 / len(self.sources) for source",
        OF_CHOICES,
    ),
    of(
        "a row of a mixture may come twice",
        MIXTURE,
        "sorted(lot.sample(range(len(rows)), count))",
        "sorted(lot.choices(range(len(rows)), k=count))",
        OF_CHOICES,
    ),
    of("a mixture that lies source by source", MIXTURE, "        lot.shuffle(mixed)\n", "", OF_CHOICES),
    of(
        "a mixture that rounds down",
        MIXTURE,
        "for at in by_rest[: wanted - sum(counts)]:",
        "for at in by_rest[:0]:",
        OF_CHOICES,
    ),
    of(
        "held-out prompts are trained on",
        PROMPTS,
        "return named[heldout_count:], named[:heldout_count]",
        "return named, named[:heldout_count]",
        OF_OWN,
    ),
    of(
        "prompts are those of the demonstrations",
        PROMPTS,
        'items("train", self.rows, self.seed + 1_000_000)',
        'items("train", self.rows, self.seed)',
        "tests/stages/test_prompts.py",
    ),
    of(
        "prompts hold the answer",
        PROMPTS,
        "return messages[:last]",
        "return messages[: last + 1]",
        "tests/stages/test_prompts.py",
    ),
    of(
        "pages that are held out are trained on",
        "stages/text.py",
        "UNREAD * (2 + self.seed)",
        "UNREAD * (1 + self.seed)",
        "tests/stages/test_regularisers.py::test_pages_are_none_that_pretraining_read_and_held_out_ones_are_fixed",
    ),
    of(
        "the label names the other answer",
        SIMULATED,
        'first, second = (b, a) if choice == "b" else (a, b)',
        "first, second = (a, b)",
        "tests/feedback/test_simulated.py::test_a_label_names_what_was_chosen_and_how_far_apart_the_ratings_are",
    ),
    of(
        "a choice that grows surer with the temperature",
        SIMULATED,
        'return "a" if draw < sigmoid(gap / self.temperature) else "b"',
        'return "a" if draw < sigmoid(gap * self.temperature) else "b"',
        "tests/feedback/test_simulated.py::test_a_choice_has_the_probability_of_the_formula",
    ),
    of(
        "annotators err together",
        SIMULATED,
        'random.Random(f"compare:{seed}:{self.name}")',
        'random.Random(f"compare:{seed}")',
        "tests/feedback/test_simulated.py::test_annotators_err_each_on_their_own",
    ),
    of(
        "a coin for those who do not toss",
        SIMULATED,
        "if toss < self.tosses:",
        "if toss >= self.tosses:",
        "tests/feedback/test_simulated.py::test_a_coin_tosser_agrees_half_the_time",
    ),
    of(
        "facts are skipped by those who check them",
        SIMULATED,
        "facts, toss, draw = rng.random() >= self.skips_facts",
        "facts, toss, draw = rng.random() < self.skips_facts",
        "tests/feedback/test_simulated.py::test_each_bias_shows_and_its_control_does_not",
    ),
    of(
        "margins of the ratings with their sign",
        SIMULATED,
        "abs(ratings[0] - ratings[1])",
        "(ratings[0] - ratings[1])",
        "tests/feedback/test_simulated.py::test_a_label_names_what_was_chosen_and_how_far_apart_the_ratings_are",
    ),
    of(
        "confidence counts those who saw no difference",
        VOTES,
        "(most + 0.5) / (len(voting) + 1)",
        "(most + 0.5) / (len(labels) + 1)",
        OF_VOTES,
    ),
    of(
        "confidence is the share of votes",
        VOTES,
        "(most + 0.5) / (len(voting) + 1)",
        "most / len(voting)",
        OF_VOTES,
    ),
    of(
        "one vote beside three ties is a comparison",
        VOTES,
        "if 2 * len(voting) <= len(labels):",
        "if not voting:",
        OF_VOTES,
    ),
    of(
        "the minority wins",
        VOTES,
        "winner = first if len(alike) >= len(others) else others[0]",
        "winner = others[0] if others and len(alike) >= len(others) else first",
        OF_VOTES,
    ),
    of(
        "margins of the other side count for the winner",
        VOTES,
        '(1 if row["chosen"] == winner["chosen"] else -1)',
        "1",
        OF_VOTES,
    ),
    of(
        "chance agreement with replacement",
        AGREEMENT,
        "expected = _unequal(counts) / (n * (n - 1))",
        "expected = _unequal(counts) / (n * n)",
        OF_AGREEMENT,
    ),
    of(
        "a question weighs by the pairs of its answers",
        AGREEMENT,
        "_unequal(Counter(answers)) / (len(answers) - 1)",
        "_unequal(Counter(answers)) / len(answers)",
        OF_AGREEMENT,
    ),
    of(
        "who watches is sure by the temperature",
        "feedback/segments.py",
        "sigmoid((a - b) / self.temperature)",
        "sigmoid((a - b) * self.temperature)",
        "tests/feedback/test_segments.py",
    ),
    of(
        "an answer that a limit cut obeys",
        "feedback/constraint_annotators.py",
        "sum(looked_at) / len(looked_at) if ended else 0.0",
        "sum(looked_at) / len(looked_at)",
        "tests/feedback/test_checkers.py",
    ),
]
