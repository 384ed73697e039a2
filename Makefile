# demo, test, check, docs, bench: each sets itself up. VENV=DIR puts the environment elsewhere; SLOW=1 adds the slow tests.
VENV ?= .venv
PYTHON ?= python3
BIN = $(VENV)/bin
RUN = $(BIN)/posttrain

.PHONY: demo test check docs bench mutate base clean

demo: $(VENV)/.ready-smollm2  ## InstructGPT on the embedded model and data, to a report
	$(RUN) run instructgpt
	@echo "  $(RUN) run dpo base=DIR_OR_HUB_ID comparisons=FILE.jsonl     your own model and comparisons"
	@echo "  source $(BIN)/activate         after it 'posttrain' alone will do"

test: $(VENV)/.ready-test  ## the fast suite, a process for each core; SLOW=1 for all of it
	$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile $(if $(SLOW),-m "slow or not slow",)

check: $(VENV)/.ready-check  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.ready-docs  ## the pages of docs/ as a site in build/site
	$(BIN)/zensical build --strict --clean

bench: $(VENV)/.ready-test  ## side-by-side measurements, some three and a half hours at 264 GFLOP/s; JSON under benchmarks/results
	$(BIN)/python benchmarks/run_all.py $(if $(ONLY),--only $(ONLY),)

mutate: $(VENV)/.ready-test  ## deliberate mistakes in a copy; every one must be caught, and the tests that did are listed
	$(BIN)/python scripts/mutate.py

base: $(VENV)/.ready-smollm2  ## train the embedded base model again, from nothing (about an hour at 264 GFLOP/s)
	$(BIN)/python scripts/train_base.py

$(VENV)/.ready-%: pyproject.toml constraints.txt scripts/set_up.py setup.py $(wildcard posttrain/kernels/*.[ch])
	$(PYTHON) scripts/set_up.py $(VENV) $*
	@touch $@

clean:
	rm -rf $(VENV) build posttrain/kernels/_*.so
