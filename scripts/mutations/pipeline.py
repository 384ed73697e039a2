"""Mistakes in fingerprints, the store, the runner, lineage, plans, settings, and the sandbox."""

# size: a table, one entry a mistake

from __future__ import annotations

from mutations.mutation import of

FINGERPRINT, STORE, RUNNER = "pipeline/fingerprint.py", "pipeline/store.py", "pipeline/runner.py"
PLAN, SIZES, EXAMINATION = "pipeline/plan.py", "pipeline/sizes.py", "sandbox/examination.py"
OF_RUNNER, OF_STAGE, OF_SIZES = (f"tests/pipeline/test_{name}.py" for name in ("runner", "stage", "sizes"))
OF_GATES, OF_SCALE, OF_SANDBOX = (
    "tests/pipeline/test_gates.py",
    "tests/pipeline/test_scale.py",
    "tests/sandbox/test_sandbox.py",
)
OF_FORMS = f"{OF_SANDBOX}::test_tests_of_every_form_are_run_and_counted"
OF_PROGRAMS = f"{OF_SANDBOX}::test_a_program_is_judged_by_what_it_writes"

MUTATIONS = [
    of(
        "fingerprints by three digits",
        FINGERPRINT,
        'return {"float": value.hex()}',
        'return {"float": f"{value:.3g}"}',
        f"{OF_RUNNER}::test_every_digit_of_a_setting_counts",
    ),
    of(
        "a fingerprint without the version",
        FINGERPRINT,
        '"version": getattr(kind, "version", None)',
        '"version": None',
        f"{OF_RUNNER}::test_the_version_of_a_stage_counts",
    ),
    of(
        "a fingerprint without the names in a dict",
        FINGERPRINT,
        '"dict": {str(key): self._value(element, f"{path}.{key}") for key, element in value.items()}',
        '"dict": [self._value(element, f"{path}.{key}") for key, element in value.items()]',
        f"{OF_RUNNER}::test_every_digit_of_a_setting_counts",
    ),
    of(
        "1 and 1.0 are two settings",
        FINGERPRINT,
        "if type(value) is int and float in kinds and int not in kinds:",
        "if False:",
        f"{OF_RUNNER}::test_only_what_changed_and_what_follows_is_made",
    ),
    of(
        "a field that came later counts at its default",
        FINGERPRINT,
        'item.metadata.get("later") and getattr(value, item.name) == item.default',
        "False",
        f"{OF_RUNNER}::test_a_field_that_came_later_counts_where_it_is_set",
    ),
    of(
        "the name of a stage counts",
        FINGERPRINT,
        'if not (isinstance(value, Stage) and item.name == "name")',
        "if True",
        f"{OF_RUNNER}::test_name_and_place_of_a_file_do_not_count",
    ),
    of(
        "a file that was added is no damage",
        STORE,
        "for name in sorted(written.keys() | found.keys()):",
        "for name in sorted(written.keys()):",
        OF_STAGE,
    ),
    of(
        "a hash is remembered by the name of a file",
        STORE,
        "if known and known[:3] == signature:",
        "if known:",
        f"{OF_RUNNER}::test_only_what_changed_and_what_follows_is_made",
    ),
    of(
        "the clock of a curve makes what follows stale",
        STORE,
        "if Path(name).name != CURVES}",
        "}",
        f"{OF_RUNNER}::test_the_clock_of_a_curve_makes_nothing_stale",
    ),
    of(
        "what failed halfway is left behind",
        STORE,
        """                yield output
            finally:
                shutil.rmtree(output, ignore_errors=True)""",
        """                yield output
            finally:
                pass""",
        OF_STAGE,
    ),
    of(
        "two processes make one product",
        STORE,
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        OF_STAGE,
    ),
    of(
        "gates of what was there already are not looked at",
        RUNNER,
        "if address in record.products:\n                _gates",
        "if address in record.made:\n                _gates",
        f"{OF_RUNNER}::test_a_failed_gate_stops_every_run_until_it_is_accepted",
    ),
    of(
        "a gate is accepted without being recorded",
        RUNNER,
        'record.record["accepted_gates"].append(f"{address}.{found.name}")',
        "pass",
        f"{OF_RUNNER}::test_a_failed_gate_stops_every_run_until_it_is_accepted",
    ),
    of(
        "a run that failed is recorded as stopped",
        RUNNER,
        'record.save("stopped" if stopped else "failed")',
        'record.save("stopped")',
        f"{OF_RUNNER}::test_an_error_of_the_user_names_the_stage_and_leaves_nothing_half_made",
    ),
    of(
        "a run stands for one of other settings",
        RUNNER,
        'keys = ("recipe", "overrides", "products",',
        'keys = ("recipe", "products",',
        f"{OF_RUNNER}::test_a_run_stands_for_an_earlier_one_of_the_same_wishes_only",
    ),
    of(
        "grandparents are forgotten",
        RUNNER,
        'ancestors |= product.made.get("ancestors", {})',
        "pass",
        f"{OF_RUNNER}::test_lineage_tells_settings_hashes_and_parents_of_a_copied_product",
    ),
    of(
        "a parent is remembered without its settings",
        RUNNER,
        'keys = ("stage", "version", "settings", "seed",',
        'keys = ("stage", "version", "seed",',
        f"{OF_RUNNER}::test_lineage_tells_settings_hashes_and_parents_of_a_copied_product",
    ),
    of(
        "an earlier run is newer because its number is longer in text",
        RUNNER,
        "return max(found, key=run_number, default=None)",
        "return max(found, key=str, default=None)",
        f"{OF_RUNNER}::test_the_latest_run_is_that_of_the_largest_number",
    ),
    of(
        "what waits for people is finished",
        RUNNER,
        'record.save("waiting" if record.waiting else "finished")',
        'record.save("finished")',
        f"{OF_RUNNER}::test_what_does_not_depend_on_people_is_made_before_waiting",
    ),
    of(
        "a parent is told twice in full",
        "pipeline/lineage.py",
        "        told.add(fingerprint)\n",
        "",
        f"{OF_RUNNER}::test_a_parent_of_two_is_told_once",
    ),
    of(
        "an input whose content changed is not noticed",
        PLAN,
        "if made[input_address].content != known.get(path):",
        "if path not in known:",
        f"{OF_RUNNER}::test_an_input_whose_content_changed_makes_what_follows_stale",
    ),
    of(
        "time does not grow with the work",
        PLAN,
        "seconds=took * work / worked if work else took",
        "seconds=took",
        f"{OF_SIZES}::test_what_such_a_stage_took_corrects_the_next_estimate",
    ),
    of(
        "any amount of work tells how long another takes",
        PLAN,
        "1 / ALIKE <= work / worked <= ALIKE",
        "work / worked > 0",
        f"{OF_SIZES}::test_what_such_a_stage_took_corrects_the_next_estimate",
    ),
    of(
        "a gate of one stage is accepted for another",
        "pipeline/gates.py",
        'f"{address}.{found.name}" in accept]',
        'any(name.endswith(f".{found.name}") for name in accept)]',
        OF_GATES,
    ),
    of(
        "a large whole number through a float",
        "pipeline/values.py",
        "return int(wish.text)  # exact",
        "return int(number)  # exact",
        "tests/test_settings.py",
    ),
    of(
        "any text that is not true is false",
        "pipeline/values.py",
        "if kind is bool and text.lower() in TRUE + FALSE:",
        "if kind is bool:",
        "tests/test_settings.py",
    ),
    of(
        "a forward pass costs one operation a parameter",
        SIZES,
        "return 2.0 * self.parameters * tokens",
        "return 1.0 * self.parameters * tokens",
        f"{OF_SIZES}::test_operations_are_two_a_parameter_and_token_and_three_times_that_to_learn",
    ),
    of(
        "backward costs as much as forward",
        SIZES,
        "return (2.0 + share) * self.reading(tokens)",
        "return (1.0 + share) * self.reading(tokens)",
        f"{OF_SIZES}::test_operations_are_two_a_parameter_and_token_and_three_times_that_to_learn",
    ),
    of(
        "annotators of one pair are several rows",
        SIZES,
        "return round(lines * different), tokens_of(some), fresh",
        "return lines, tokens_of(some), fresh",
        f"{OF_SIZES}::test_rows_that_share_an_id_are_one",
    ),
    of(
        "a step counts its prompts and not their answers",
        "pipeline/scale.py",
        "examples = steps * prompts * size or own",
        "examples = steps * prompts or own",
        f"{OF_SCALE}::test_a_step_of_reinforcement_counts_every_answer",
    ),
    of(
        "a split is part of a data set's name",
        "pipeline/sources.py",
        'name = self.path.partition(":")[0] if self.kind == "datasets" else self.path',
        "name = self.path",
        "tests/pipeline/test_sources.py",
    ),
    of(
        "what is read is the newest and not what was pinned",
        "pipeline/sources.py",
        "        if key not in pins:\n",
        "        if True:\n",
        "tests/pipeline/test_sources.py",
    ),
    of(
        "a duration of hours without its minutes",
        "pipeline/progress.py",
        '{minutes // 60} h {minutes % 60} min"',
        '{minutes // 60} h {rest} min"',
        "tests/pipeline/test_progress_lines.py",
    ),
    of(
        "tests of which none ran are passed",
        EXAMINATION,
        "return self.ran > 0 and self.passed == self.ran",
        "return self.passed == self.ran",
        f"{OF_SANDBOX}::test_of_no_tests_none_is_passed",
    ),
    of(
        "a program that crashed after its output is right",
        EXAMINATION,
        "elif ended != 0:",
        "elif ended is None:",
        OF_PROGRAMS,
    ),
    of(
        "spaces at the beginning of a line do not count",
        EXAMINATION,
        "return [line.rstrip() for line",
        "return [line.strip() for line",
        OF_PROGRAMS,
    ),
    of(
        "a tier that passes wrong answers is trusted",
        EXAMINATION,
        "if [trial.solved for trial in trials] == [True, False]:",
        "if trials[0].solved:",
        f"{OF_SANDBOX}::test_a_tier_that_passes_everything_is_none",
    ),
    of(
        "a test that fails stops those after it",
        "sandbox/examiner.py",
        "if failed and not isinstance(node, ast.Assert):",
        "if failed:",
        OF_FORMS,
    ),
    of(
        "a skipped case is a passed one",
        "sandbox/examiner.py",
        "outcome.testsRun - len(outcome.skipped) - len(bad)",
        "outcome.testsRun - len(bad)",
        OF_FORMS,
    ),
    of(
        "an error in a case is no failure",
        "sandbox/examiner.py",
        "for _, text in outcome.failures + outcome.errors]",
        "for _, text in outcome.failures]",
        OF_FORMS,
    ),
    of(
        "auto takes a device at which the first number fails",
        "device.py",
        "    except RuntimeError:\n        return False",
        "    except RuntimeError:\n        return True",
        "tests/test_device.py::test_auto_takes_the_first_that_computes_and_says_which",
    ),
    of(
        "chat computes on the CPU whatever it is told",
        "cli.py",
        "load_causal_lm(path, device=device(options.device))",
        'load_causal_lm(path, device="cpu")',
        "tests/test_device.py::test_chat_is_told_where_to_compute",
    ),
]
