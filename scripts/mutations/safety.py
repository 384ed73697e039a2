"""Mistakes in what keeps products, secrets and a user's time safe."""

# size: a table, one entry a mistake

from __future__ import annotations

from mutations.mutation import of

STORE, PLAN = "pipeline/store.py", "pipeline/plan.py"
UNTOUCHED = "tests/pipeline/test_untouched.py"

MUTATIONS = [
    of(
        "a curve that changed is damage",
        STORE,
        "            if Path(name).name == CURVES:\n",
        "            if False:\n",
        f"{UNTOUCHED}::test_a_curve_that_changed_changes_nothing",
    ),
    of(
        "what a person may have touched is made again unasked",
        PLAN,
        "        if not harmed:\n            return",
        "        if harmed:\n            return",
        f"{UNTOUCHED}::test_a_product_that_was_touched_is_named_and_kept",
    ),
    of(
        "what stood in a product's place is deleted",
        STORE,
        "            self.set_aside(final)",
        "            shutil.rmtree(final)",
        f"{UNTOUCHED}::test_what_is_made_again_as_asked_is_kept_aside",
    ),
    of(
        "a changed made.json is trusted",
        STORE,
        'return "" if sealed(made)[SEAL] == made[SEAL] else',
        'return "" if SEAL in made else',
        f"{UNTOUCHED}::test_a_product_that_was_touched_is_named_and_kept",
    ),
    of(
        "a note in a finished product is another product",
        "pipeline/fingerprint.py",
        "text = finished_identity(stage.path, self._workspace)",
        "text = SourceFile(stage.path).identity(self._workspace)",
        f"{UNTOUCHED}::test_a_note_in_a_finished_product_makes_nothing_that_follows_again",
    ),
]
