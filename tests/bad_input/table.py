"""Bad input by bad input: at which entry it is tested, and why it is not at the others.

The rows are the kinds of bad input that users really feed it. An entry is a way in for something of a
user's: a file of rows, settings, a model, a product or a record of a workspace, a recipe with code of its
own, words to a model that speaks, and the machine itself.
"""

from __future__ import annotations

ENTRIES = ("rows", "settings", "model", "product", "recipe", "talk", "machine")
ROWS_ = "tests/bad_input/test_rows.py::"
SETTINGS_ = "tests/bad_input/test_settings_of_a_run.py::"
MODELS_ = "tests/bad_input/test_models.py::test_a_model_that_cannot_be_used_is_told_before_anything_is_made"
PATHS_ = "tests/bad_input/test_models.py::test_a_path_that_is_no_directory_of_a_model"
PRODUCTS_ = "tests/bad_input/test_products.py::"
TOUCHED_ = f"{PRODUCTS_}test_a_product_that_was_touched_is_told_and_kept"
CELLS_ = "tests/bad_input/test_cells.py::"
SET = f"{CELLS_}test_a_setting_that_cannot_be_is_told_by_its_path"
CODE = f"{CELLS_}test_a_recipe_that_is_none_is_told_by_its_line"
BESIDE = f"{CELLS_}test_rows_that_do_not_fit_a_model_are_counted_before_anything_is_trained"
VOCABULARY = f"{CELLS_}test_a_teacher_of_another_vocabulary_is_told_by_both_sizes"
KIND = f"{CELLS_}test_a_product_of_another_kind_is_told_by_both_kinds"
REWARD = "tests/bad_input/test_rewards.py::test_a_reward_that_cannot_be_used_stops_a_run_and_a_rehearsal"
FIELD = f"{ROWS_}test_a_spoilt_field_is_told_by_file_row_path_expectation_and_fix"
FILE = f"{ROWS_}test_a_file_that_is_no_rows_is_told"
NONE_GOOD = f"{ROWS_}test_rows_of_which_none_can_be_used_are_counted"
SCALE = f"{ROWS_}test_a_value_off_its_scale_is_told"
COLUMN = f"{ROWS_}test_a_missing_cell_is_one_problem_a_row_and_a_missing_column_one_of_the_file"
GOOD = f"{ROWS_}test_good_rows_in_every_form_are_read"
KEPT = "tests/bad_input/test_kept.py::"
MACHINE = "tests/bad_input/test_of_machine.py::"
HUB = "tests/bad_input/test_of_hub.py::"
TALK_ = "tests/bad_input/test_talk.py::"
REQUEST = f"{TALK_}test_a_request_that_cannot_be_answered_is_told_by_its_field"
TYPED = f"{TALK_}test_what_is_typed_is_answered_or_told_why_not"
NO_TEXT = f"{PRODUCTS_}test_a_record_that_is_no_text_is_told_by_its_file"
RUN = f"{SETTINGS_}test_settings_that_cannot_be_are_told"
YAML = f"{SETTINGS_}test_a_settings_file_that_cannot_be_is_told"
REFUSED = "tests/test_settings.py::test_what_does_not_fit_is_refused_in_words"
SERVE = "tests/serving/test_serving.py::"
AHEAD = "tests/stages/test_rows_ahead.py::"
HOSTILE = "tests/data/test_hostile_files.py::"
RECORDS = "tests/pipeline/test_hostile_records.py::test_a_record_that_somebody_made_up_is_told_in_a_sentence"
PROTOCOL = "tests/rewards/test_base.py::test_rewards_of_another_form_are_refused"
FORM = "only rows have columns and cells"
TRAINS = "only a stage that trains meets it, and it trains on rows"
NUMBERS = "a number of the user's comes in by a setting alone"

# number: what it is, entry to its tests, and why the other entries have none
Bad = tuple[str, dict[str, tuple[str, ...]], str]
BAD_INPUT: dict[int, Bad] = {
    1: (
        "empty file or data set",
        {
            "rows": (FILE,),
            "settings": (f"{SETTINGS_}test_an_empty_settings_file_changes_nothing", RUN),
            "model": (PATHS_,),
            "product": (NO_TEXT, RECORDS),
            "recipe": (CODE,),
            "talk": (REQUEST,),
        },
        "a machine is never empty",
    ),
    2: (
        "every row filtered out",
        {"rows": (NONE_GOOD, f"{AHEAD}test_no_row_that_fits_and_comparisons_are_looked_at_too")},
        "only rows are filtered",
    ),
    3: ("missing or misspelt column", {"rows": (COLUMN,)}, FORM),
    4: (
        "unknown setting",
        {"settings": (SET, REFUSED, f"{PRODUCTS_}test_an_option_that_cannot_be_is_told")},
        "it has no settings",
    ),
    5: (
        "YAML tab or duplicate key, 1e-5, no",
        {
            "settings": (
                YAML,
                SET,
                "tests/test_settings.py::test_a_file_says_the_same_as_the_command_line",
                "tests/test_settings.py::test_a_faulty_file_is_told_by_line_and_column",
            )
        },
        "only settings are read from YAML",
    ),
    6: (
        "negative, zero or NaN learning rate, beta, clip range, temperature",
        {
            "settings": (
                SET,
                "tests/stages/test_ranges.py::test_numbers_out_of_range_are_named_with_their_path",
                RUN,
            ),
            "talk": (
                f"{PRODUCTS_}test_a_temperature_that_is_none_is_told",
                REQUEST,
            ),
        },
        NUMBERS,
    ),
    7: (
        "group size 1 for a group baseline",
        {
            "settings": (
                SET,
                "tests/stages/test_methods.py::test_a_group_of_one_is_refused_before_anything_is_made",
            )
        },
        NUMBERS,
    ),
    8: (
        "batch not divisible by group size",
        {
            "settings": (
                f"{SETTINGS_}test_batches_of_any_size_are_planned",
                "tests/training/test_rl_loop.py::test_minibatches_hold_every_row_once_and_groups_whole",
            )
        },
        "cannot be said: a batch is counted in prompts, each of which is answered group_size times",
    ),
    9: (
        "NaN, inf, None, text or bool reward",
        {"recipe": (REWARD, PROTOCOL), "rows": (SCALE,)},
        "rewards come of a reward's code, or of answers in rows",
    ),
    10: (
        "reward list of the wrong length; a reward that raises",
        {
            "recipe": (
                REWARD,
                PROTOCOL,
                "tests/rewards/test_base.py::test_a_reward_that_raises_is_named_with_its_line_and_the_answer",
            )
        },
        "rewards come of a reward's code",
    ),
    11: (
        "zero variance or truncation everywhere",
        {
            "rows": (
                f"{KEPT}test_a_run_whose_answers_were_all_paid_the_same_stops",
                "tests/checks/test_checks.py::test_what_was_never_paid_otherwise_stops_a_run_of_some_steps",
                "tests/checks/test_checks.py::test_answers_that_do_not_end_stop_a_recipe_where_enough_were_looked_at",
            )
        },
        "it is known once answers were drawn and rewarded, whatever was put in",
    ),
    12: (
        "equal, empty or contradictory answers",
        {
            "rows": (
                FIELD,
                f"{ROWS_}test_every_way_to_a_file_reads_it_before_anything_is_made",
                "tests/data/test_pair_votes.py::test_equal_votes_and_pairs_that_half_call_a_tie_are_ties",
            )
        },
        FORM,
    ),
    13: (
        "prompt longer than the context",
        {
            "rows": (
                BESIDE,
                f"{AHEAD}test_what_an_answer_leaves_no_room_for",
                f"{AHEAD}test_rows_beyond_a_plain_context_are_counted",
            ),
            "settings": (BESIDE, "tests/stages/test_rows_fit.py::test_an_answer_needs_room_for_a_prompt"),
            "talk": (REQUEST, TYPED),
        },
        "it holds no prompt",
    ),
    14: (
        "roles and their order",
        {
            "rows": (FIELD, f"{ROWS_}test_a_conversation_without_its_end_is_told"),
            "talk": (REQUEST,),
        },
        "it holds no messages",
    ),
    15: (
        "content that is no text",
        {"rows": (FIELD,), "talk": (REQUEST,)},
        "it holds no messages",
    ),
    16: ("rows of different shape", {"rows": (COLUMN,)}, FORM),
    17: (
        "tokenizer without pad, eos, template or markers; a template that drops messages",
        {
            "model": (
                MODELS_,
                "tests/models/test_chat.py::test_a_tokenizer_that_cannot_end_an_answer_is_refused",
                "tests/models/test_chat.py::test_the_end_is_learned_where_pad_is_eos",
            ),
            "settings": (
                BESIDE,
                "tests/stages/test_chat_template.py::test_a_template_that_cannot_be_used_is_told_before_anything_is_made",
            ),
        },
        "a tokenizer comes with a model, or a template by a setting",
    ),
    18: (
        "vocabularies, labels and heads that do not fit",
        {
            "model": (
                MODELS_,
                "tests/models/test_loading.py::test_a_tokenizer_larger_than_the_model_is_refused",
                "tests/models/test_loading.py::test_several_labels_are_refused",
                "tests/models/test_loading.py::test_missing_weights_are_refused",
            ),
            "product": (VOCABULARY, f"{AHEAD}test_another_vocabulary"),
        },
        "it holds no weights",
    ),
    19: (
        "duplicate ids and prompts",
        {
            "rows": (
                NONE_GOOD,
                "tests/stages/test_own_rows.py::test_a_copy_with_another_id_is_a_copy_and_of_a_comparison_a_vote",
                "tests/stages/test_own_rows.py::test_prompts_that_come_twice_in_other_rows_are_counted",
            )
        },
        "only rows come twice",
    ),
    20: (
        "not UTF-8, NUL, lone surrogate; BOM and CRLF",
        {
            "rows": (FILE, GOOD),
            "settings": (YAML,),
            "product": (NO_TEXT, RECORDS),
            "talk": (REQUEST, TYPED, f"{SERVE}test_half_of_a_surrogate_pair_is_refused"),
        },
        "text of a model is read by transformers, of a recipe by Python, which say so themselves",
    ),
    21: (
        "long or truncated lines, JSON arrays, CSV, gzip, NaN",
        {"rows": (FILE, GOOD, "tests/data/test_read.py::test_the_same_rows_in_every_form")},
        "only rows come in these forms",
    ),
    22: ("label or rating off its scale", {"rows": (SCALE,)}, FORM),
    23: (
        "disk, permission, a file in the way",
        {
            "machine": (
                f"{PRODUCTS_}test_a_workspace_that_may_not_be_written_is_told",
                f"{PRODUCTS_}test_a_workspace_that_can_be_none_is_told",
            ),
            "rows": (FILE, f"{HOSTILE}test_a_file_that_may_not_be_read_is_named"),
            "product": (f"{PRODUCTS_}test_a_path_that_names_no_product_is_told",),
            "model": (PATHS_,),
        },
        "it is no file, or not one that is written",
    ),
    24: (
        "another run's directory, changed settings, a second process",
        {
            "product": (
                f"{CELLS_}test_a_second_process_is_told_by_whom_a_product_is_made",
                "tests/pipeline/test_stage.py::test_a_second_process_is_told_who_holds_the_lock",
                "tests/pipeline/test_runner.py::test_only_what_changed_and_what_follows_is_made",
            )
        },
        "a product is found by its fingerprint, so that no other run's can be written over",
    ),
    25: (
        "damaged product or checkpoint, other version",
        {
            "product": (
                TOUCHED_,
                f"{PRODUCTS_}test_a_product_given_in_a_stages_place_is_told_too",
                RECORDS,
                "tests/training/test_checkpoint.py::test_with_damage_to_any_file_the_one_before_serves_and_it_is_set_aside",
            ),
            "model": (MODELS_,),
        },
        "it is not made by posttrain, so that nothing says how it was",
    ),
    26: ("a model without weights, of pickles, of remote code", {"model": (MODELS_,)}, "it holds no weights"),
    27: (
        "dtype or memory that this device does not have",
        {
            "machine": (
                SET,
                "tests/test_cli.py::test_a_device_that_is_not_there_becomes_the_cpu_with_a_line",
                "tests/test_cli.py::test_errors_are_sentences_without_a_traceback",
            ),
            "settings": (SET,),
        },
        "it names no device",
    ),
    28: (
        "one row to split; batch larger than the data",
        {
            "rows": (
                f"{ROWS_}test_rows_that_fill_no_batch_are_counted_before_anything_is_made",
                f"{ROWS_}test_a_rehearsal_counts_the_rows_of_the_run_and_not_its_own",
                f"{AHEAD}test_one_comparison_is_not_enough_to_measure_with",
                f"{ROWS_}test_one_row_is_not_enough_to_split",
            )
        },
        "only rows are split",
    ),
    29: (
        "emoji, right-to-left text, other scripts",
        {
            "rows": (GOOD, f"{KEPT}test_other_scripts_are_kept_as_they_are"),
            "model": (
                f"{KEPT}test_a_model_under_a_name_of_another_script_is_read",
                "tests/models/test_chat.py::test_other_scripts_survive",
            ),
            "talk": (
                TYPED,
                f"{TALK_}test_other_scripts_are_answered",
                f"{SERVE}test_text_is_held_back_while_it_may_begin_a_stop_or_is_half_a_character",
            ),
        },
        "its text is names and numbers",
    ),
    30: (
        "Ctrl-C, SIGTERM",
        {"machine": (f"{MACHINE}test_a_signal_ends_a_command_with_nothing_half_made",)},
        "a signal is the machine's",
    ),
    31: (
        "read-only HOME, no network, clock jumps",
        {
            "machine": (
                "tests/bad_input/test_clock_and_home.py::test_a_run_in_odd_circumstances_is_whole",
                "tests/pipeline/test_hub_answers.py::test_pins_and_the_cache_are_looked_at_too",
            )
        },
        "it is the machine's; what stands there is read as anywhere",
    ),
    32: (
        "nested, bombs, pipes, devices, directories",
        {
            "rows": (
                FILE,
                f"{ROWS_}test_a_gzip_bomb_is_told",
                f"{HOSTILE}test_a_row_of_odd_values_is_told_by_row_and_field",
            ),
            "settings": (YAML, f"{SETTINGS_}test_a_settings_file_that_is_none_is_not_waited_for"),
            "model": (MODELS_, PATHS_),
            "product": (NO_TEXT, RECORDS, TOUCHED_),
            "talk": (REQUEST, f"{SERVE}test_a_body_that_is_no_json_is_told"),
        },
        "Python reads a recipe; it may do what its author pleases",
    ),
    33: (
        "settings of a check of another type or size",
        {"rows": (SCALE,), "settings": (SET, REFUSED)},
        "checks come with rows, settings of rewards by settings",
    ),
    34: (
        "a finished product of another kind",
        {
            "product": (KIND, f"{AHEAD}test_a_given_product_of_another_kind"),
            "model": (MODELS_,),
            "talk": (KIND, f"{SERVE}test_a_reward_model_and_a_taken_port_are_refused"),
        },
        "it is no product",
    ),
    35: (
        "rows longer than the model's context",
        {
            "rows": (
                BESIDE,
                f"{AHEAD}test_rows_beyond_a_plain_context_are_counted",
                f"{AHEAD}test_learned_positions_are_no_index_error",
                "tests/stages/test_dropped.py::test_a_demonstration_that_does_not_fit_is_dropped_and_counted_never_cut",
            ),
            "settings": (
                BESIDE,
                "tests/stages/test_rows_fit.py::test_every_stage_with_longer_rows_is_named_before_anything_is_made",
            ),
        },
        TRAINS,
    ),
    36: (
        "chat tokens inside text",
        {
            "rows": (
                f"{KEPT}test_chat_tokens_inside_text_are_learned_as_text",
                "tests/models/test_special_tokens.py::test_a_user_cannot_end_a_turn_or_speak_as_the_assistant",
                "tests/models/test_special_tokens.py::test_an_answer_does_not_teach_to_speak_as_the_user",
            ),
            "talk": (
                f"{TALK_}test_chat_tokens_inside_text_are_read_as_text",
                "tests/models/test_special_tokens.py::test_a_text_that_is_its_templates_own_mark_stays_text",
            ),
        },
        "no model reads its text",
    ),
    37: (
        "a file added to, or changed in, a product",
        {
            "product": (
                TOUCHED_,
                f"{PRODUCTS_}test_a_note_in_a_product_is_kept_and_nothing_is_made_again",
                "tests/pipeline/test_untouched.py::test_a_note_beside_the_weights_changes_nothing",
            )
        },
        "only a product is kept as it was written",
    ),
    38: (
        "paths that are none",
        {
            "rows": (FILE, f"{HOSTILE}test_a_path_that_is_none_is_named"),
            "settings": (RUN,),
            "model": (PATHS_,),
            "product": (
                f"{PRODUCTS_}test_a_path_that_names_no_product_is_told",
                f"{PRODUCTS_}test_a_stage_whose_name_leads_outside_is_refused",
                "tests/pipeline/test_secrets.py::test_a_stages_name_cannot_lead_outside",
            ),
            "recipe": (f"{PRODUCTS_}test_an_option_that_cannot_be_is_told",),
            "machine": (f"{PRODUCTS_}test_a_workspace_that_can_be_none_is_told",),
        },
        "a message names no file",
    ),
    39: (
        "full disk while weights are saved",
        {
            "machine": (
                f"{MACHINE}test_a_disk_that_is_full_while_a_stage_writes_is_told_by_path_and_stage",
                "tests/pipeline/test_hostile_records.py::test_trouble_of_the_machine_is_told_however_it_is_said",
                "tests/test_cli.py::test_errors_are_sentences_without_a_traceback",
            )
        },
        "a disk is the machine's",
    ),
    40: (
        "a hub name that redirects, an answer that is no commit",
        {
            "model": (
                f"{HUB}test_a_name_that_is_sent_on_to_another_host_is_refused",
                f"{HUB}test_an_answer_that_is_no_commit_is_refused",
                "tests/pipeline/test_hub_answers.py::test_the_token_does_not_follow_to_another_host",
                "tests/pipeline/test_hub_answers.py::test_an_answer_that_is_no_commit_is_refused",
            ),
            "rows": (
                f"{HUB}test_a_name_that_is_sent_on_to_another_host_is_refused",
                f"{HUB}test_an_answer_that_is_no_commit_is_refused",
                "tests/pipeline/test_sources.py::test_a_hub_data_set_is_read_at_the_commit_that_was_pinned",
            ),
        },
        "only models and rows are fetched",
    ),
    41: (
        "columns that are not read",
        {
            "rows": (
                f"{KEPT}test_columns_that_are_not_read_are_named_once",
                "tests/data/test_formats.py::test_columns_that_are_not_read_are_named_once",
            )
        },
        FORM,
    ),
    42: (
        "two annotators who disagree",
        {
            "rows": (
                f"{KEPT}test_annotators_who_disagree_are_counted_together",
                "tests/data/test_pair_votes.py::test_the_order_of_votes_does_not_matter",
                "tests/data/test_pair_votes.py::test_one_early_vote_does_not_outvote_nine_later_ones",
            )
        },
        FORM,
    ),
}

# answered otherwise than by a refusal that begins before anything is made
OTHERWISE: dict[int, str] = {
    8: "no command can ask for it, a batch being counted in prompts",
    11: "it is known once answers were drawn and rewarded, and stops the run at a gate",
    30: "a signal ends a run with 128 and its number, not with 2",
    36: "the text is kept as text and learned from, so nothing is refused",
    37: "a note beside a product changes nothing; what was touched is with 25",
    39: "a disk is full while a stage is at work, whose half-made product goes",
    40: "the hub is a server, which these tests stand in for in their own process",
    41: "they are named once, and the rows are read",
    42: "they are counted together, and the rows are read",
}
