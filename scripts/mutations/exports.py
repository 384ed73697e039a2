"""Mistakes in what leaves posttrain: exports, and answers over HTTP."""

from __future__ import annotations

from mutations.mutation import of

GGUF, WORDS, PARITY = "exports/gguf_file.py", "exports/vocabulary.py", "exports/parity.py"
FRAMES, HUB = "exports/modelfile.py", "exports/hub.py"
WORKER, APP = "serving/engine_thread.py", "serving/app.py"
OF_GGUF, OF_HUB = "tests/exports/test_gguf.py", "tests/exports/test_hub.py"
OF_SERVING = "tests/serving/test_serving.py"
OF_FILE = f"{OF_GGUF}::test_a_gguf_file_answers_as_the_model"
OF_CARD = f"{OF_HUB}::test_a_model_on_a_base_of_the_hub_goes_with_its_adapter_its_lineage_and_its_metrics"
OF_FRAMES = f"{OF_GGUF}::test_a_template_of_frames_becomes_a_modelfile_and_any_other_is_refused"

MUTATIONS = [
    of(
        "keys are paired as if every query had one",
        GGUF,
        "paired(weight, key_heads)",
        "paired(weight, heads)",
        OF_FILE,
    ),
    of("a longer context turns as a short one", GGUF, "if factors is not None:", "if False:", OF_FILE),
    of(
        "a tokenizer's normalizer is passed over",
        WORDS,
        'if plain == wanted and settings.get("normalizer") is None:',
        "if plain == wanted:",
        f"{OF_GGUF}::test_a_tokenizer_is_mapped_by_its_rules_and_else_refused",
    ),
    of(
        "every difference is excused",
        PARITY,
        "if gap > ROUNDED[kind]:",
        "if gap > 1e9:",
        f"{OF_GGUF}::test_what_answers_otherwise_is_refused_and_not_kept",
        f"{OF_GGUF}::test_a_difference_is_excused_only_as_far_as_the_type_rounds",
    ),
    of(
        "frames are not compared with their template",
        FRAMES,
        "if frames.render(asked) != rendered(asked):",
        "if False:",
        OF_FRAMES,
    ),
    of(
        "a card tells where files lie on this machine",
        HUB,
        'value.startswith(("/", "~", "../", "file:"))',
        'value.startswith("~")',
        OF_CARD,
    ),
    of(
        "a hub that cannot be reached is a fault of posttrain",
        HUB,
        "except Exception as problem:",
        "except (OSError, ValueError) as problem:",
        f"{OF_HUB}::test_a_hub_that_cannot_be_reached_is_no_fault_of_posttrain",
    ),
    of(
        "an adapter leaves with the name of a directory",
        HUB,
        'config |= {"base_model_name_or_path": card.base, "revision"',
        'config |= {"revision"',
        OF_CARD,
    ),
    of(
        "a stop text is told before it is whole",
        WORKER,
        "certain = min(certain, len(text) - _begun(text, stop))",
        "certain = min(certain, len(text))",
        f"{OF_SERVING}::test_text_is_held_back_while_it_may_begin_a_stop_or_is_half_a_character",
    ),
    of(
        "a stop text ends what is told and not the row",
        WORKER,
        "return job.text.stopped or job.cancelled",
        "return job.cancelled",
        f"{OF_SERVING}::test_a_stop_text_ends_the_answer_before_itself",
    ),
    of(
        "a request's seed is passed over",
        APP,
        "seed = secrets.randbits(62) if asked.seed is None else asked.seed",
        "seed = secrets.randbits(62)",
        f"{OF_SERVING}::test_an_answer_is_what_chat_says_whole_and_streamed",
    ),
    of(
        "what waited in an engine that failed is kept",
        WORKER,
        "self.engine.forget()",
        "pass",
        f"{OF_SERVING}::test_a_failure_of_the_engine_is_told_and_those_after_it_are_served",
    ),
    of(
        "an answer whose client has gone runs to its end while tokens come",
        APP,
        "if time.monotonic() - asked >= ASK:",
        "if time.monotonic() - asked >= ASK and events.empty():",
        f"{OF_SERVING}::test_a_whole_answer_ends_when_its_client_has_gone",
    ),
    of(
        "a temperature that makes logits infinite is taken",
        "serving/requests.py",
        "if 0 < temperature < COLDEST:",
        "if temperature < 0:",
        f"{OF_SERVING}::test_what_cannot_be_done_is_refused_as_openai_would",
    ),
    of(
        "half of a surrogate pair reaches the tokenizer",
        "serving/requests.py",
        "prompt: Annotated[str | list[int], Whole]",
        "prompt: str | list[int]",
        f"{OF_SERVING}::test_half_of_a_surrogate_pair_is_refused",
    ),
    of(
        "a loopback address other than 127.0.0.1 refuses its own name",
        "cli/serve.py",
        "return (*LOOPBACK, f",
        "return LOOPBACK or (f",
        f"{OF_SERVING}::test_the_command_serves_on_the_device_and_under_the_loopback_address_that_were_asked_for",
    ),
    of(
        "two exports with one target write into one directory",
        "cli/export.py",
        'making = Path(tempfile.mkdtemp(prefix=f".making-{target.name}-", dir=target.parent))',
        'making = target.with_name(f".making-{target.name}"); shutil.rmtree(making, True); making.mkdir()',
        f"{OF_GGUF}::test_two_exports_with_one_target_leave_each_other_alone",
    ),
    of(
        "a request under any name is answered",
        APP,
        "allowed_hosts=list(hosts)",
        'allowed_hosts=["*"]',
        f"{OF_SERVING}::test_a_page_under_another_name_reaches_nothing",
    ),
]
