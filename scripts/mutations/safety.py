"""Mistakes in what keeps products, secrets and a user's time safe."""

# size: a table, one entry a mistake

from __future__ import annotations

from mutations.mutation import of

SECRETS = "tests/pipeline/test_secrets.py"
RECORDS = "tests/pipeline/test_hostile_records.py"
HUB = "tests/pipeline/test_hub_answers.py"
HOSTILE = "tests/data/test_hostile_files.py"
LOADING = "tests/models/test_loading.py"
STORE, PLAN = "pipeline/store.py", "pipeline/plan.py"
UNTOUCHED = "tests/pipeline/test_untouched.py"

MUTATIONS = [
    of(
        "rows that fill no batch are learned from",
        "checks/rows_enough.py",
        "if stage.batch_size > count:",
        "if False:",
        "tests/bad_input/test_rows.py::test_rows_that_fill_no_batch_are_counted_before_anything_is_made",
    ),
    of(
        "a name that is set twice has its last value",
        "settings/written.py",
        "        if name in given:",
        "        if False:",
        "tests/test_settings.py::test_a_name_given_twice_is_refused_and_not_the_last_one_taken",
    ),
    of(
        "a curve that changed is damage",
        STORE,
        "            if Path(name).name in UNCOUNTED:\n",
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
        "text = json.dumps(self._workspace.files(expanded(stage.path)), sort_keys=True)",
        f"{UNTOUCHED}::test_a_note_in_a_finished_product_makes_nothing_that_follows_again",
    ),
    of(
        "the token follows to another host",
        "pipeline/sources.py",
        "if (here.scheme, here.netloc) != (target.scheme, target.netloc):",
        "if False:",
        f"{HUB}::test_the_token_does_not_follow_to_another_host",
    ),
    of(
        "a commit of any length",
        "pipeline/sources.py",
        'r"[0-9a-f]{40}"',
        'r"[0-9a-f]+"',
        f"{HUB}::test_an_answer_that_is_no_commit_is_refused",
    ),
    of(
        "a name with dots and slashes is a directory's",
        STORE,
        "        if not NAME.fullmatch(name):",
        "        if not name:",
        f"{SECRETS}::test_a_stages_name_cannot_lead_outside",
    ),
    of(
        "error.txt tells the secret of an exception",
        "cli/entry.py",
        'error.run.redaction.text("".join(traceback.format_exception(cause)))',
        '"".join(traceback.format_exception(cause))',
        f"{SECRETS}::test_a_canary_is_in_no_file_of_a_workspace",
    ),
    of(
        "made.json tells the secret of a setting",
        STORE,
        'Redaction(made.get("settings")).value(dict(made))',
        "dict(made)",
        f"{SECRETS}::test_a_canary_is_in_no_file_of_a_workspace",
    ),
    of(
        "every token is a secret",
        "pipeline/secrets.py",
        "(?<!eos)(?<!bos)",
        "(?<!bos)",
        f"{SECRETS}::test_settings_are_secret_by_their_name",
    ),
    of(
        "a pipe is waited for",
        "data/rows.py",
        "    check_regular(path, source)\n",
        "",
        f"{HOSTILE}::test_a_socket_is_told",
    ),
    of(
        "a gzip bomb is unpacked",
        "data/rows.py",
        "                if len(made) > limit:",
        "                if len(made) > limit << 20:",
        f"{HOSTILE}::test_a_file_of_another_kind_is_told_and_not_waited_for",
    ),
    of(
        "JSON of any depth",
        "pipeline/files.py",
        "> DEEPEST and _deeper(value):",
        "> DEEPEST and False:",
        f"{RECORDS}::test_json_is_as_deep_as_is_said",
    ),
    of(
        "a killed run runs for ever",
        "pipeline/circumstances.py",
        'return not alive(number) or _began(number) != record.get("began")',
        "return False",
        f"{RECORDS}::test_a_run_that_was_killed_is_shown_as_such",
    ),
    of(
        "what others are writing is removed",
        "pipeline/files.py",
        "if path.is_file() and time.time() - path.stat().st_mtime > OLD and not alive(int(owner)):",
        "if path.is_file() and time.time() - path.stat().st_mtime > OLD:",
        f"{RECORDS}::test_what_killed_processes_left_is_removed_and_nothing_else",
    ),
    of(
        "a full disk is known by one library's words",
        "pipeline/trouble.py",
        "or _FULL.search(str(cause)):",
        "or False:",
        f"{RECORDS}::test_trouble_of_the_machine_is_told_however_it_is_said",
    ),
    of(
        "a model of NaN is loaded",
        "models/head.py",
        "if weight.is_floating_point() and not torch.isfinite(weight).all():",
        "if False:",
        f"{LOADING}::test_weights_that_are_no_numbers_are_named",
    ),
    of(
        "layers beyond the config's last are left out",
        "models/directory.py",
        "if match and int(match[1]) >= layers > 0]",
        "if match and int(match[1]) > layers > 0]",
        f"{LOADING}::test_a_config_with_fewer_layers_than_the_weights_is_refused",
    ),
    of(
        "aliases of empty mappings are followed for ever",
        "settings/written.py",
        "        self._visited += 1  #",
        "        self._visited += 0  #",
        "tests/bad_input/test_settings_of_a_run.py::test_a_settings_file_that_cannot_be_is_told",
    ),
    of(
        "one answer makes a pair",
        "stages/pairs.py",
        'at_least = MappingProxyType({"answers": 2})',
        'at_least = MappingProxyType({"answers": 1})',
        "tests/bad_input/test_settings_of_a_run.py::test_settings_that_cannot_be_are_told",
    ),
    of(
        "messages in quotes are trained on as they are written",
        "data/validate.py",
        "if _STORED.fullmatch(value):",
        "if not value:",
        "tests/bad_input/test_rows.py::test_a_spoilt_field_is_told_by_file_row_path_expectation_and_fix",
    ),
    of(
        "a given model is looked at when it is loaded",
        "pipeline/plan.py",
        "    wrong += _given(pipeline)\n",
        "",
        "tests/bad_input/test_models.py::test_a_model_that_cannot_be_used_is_told_before_anything_is_made",
    ),
    of(
        "any number of rounds is built",
        "recipes/rounds.py",
        "if not 1 <= count <= MOST_ROUNDS:",
        "if not 1 <= count <= MOST_ROUNDS + 1:",
        "tests/bad_input/test_settings_of_a_run.py::test_rounds_are_some_and_not_any_number",
    ),
]
