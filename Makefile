# Everything a user or a developer runs. Each target sets up what it needs; no virtual environment has to be active.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: chat check release-check format lint types contracts test clean
.DELETE_ON_ERROR:

$(VENV)/installed: pyproject.toml
	@echo "Installing the program and its packages into $(VENV) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tui_llama needs Python 3.11 or newer")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[hub,serve]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# Opens the chat. Arguments: make chat ARGS='-m model.gguf'
# The first time without a model's name, kernels are compiled and, where there is no model, a very small one is fetched.
# Where that fails, the chat says what is missing, and the next call tries again.
ASKS_FOR_MORE = $(filter-out --%,$(ARGS))$(filter --model% --version --help,$(ARGS))
chat: $(VENV)/installed
	@test -n "$(ASKS_FOR_MORE)" -o -e $(VENV)/ready || if $(BIN)/tui-llama set-up; then touch $(VENV)/ready; fi
	@$(BIN)/tui-llama $(ARGS)

# Everything that CI runs.
check: lint types contracts test

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

contracts: $(VENV)/installed-dev
	$(BIN)/lint-imports

# One process of tests for each processor; whoever has finished takes over what another has still to do.
# Among many processors most would only wait for the longest test.
# One file, one test: .venv/bin/pytest tests/chats/test_store.py -k kill
# The report of the slowest tests shows where the time went when CI comes near its limit.
TEST_PROCESSES = --numprocesses=logical --maxprocesses=8 --dist=worksteal
test: $(VENV)/installed-dev
	$(BIN)/pytest $(TEST_PROCESSES) --durations=10

# What CI has no time for: all tests with many more tries (tests/scale.py), and how fast prompts are stored and loaded.
release-check: $(VENV)/installed-dev
	TUI_LLAMA_RELEASE_CHECK=1 $(BIN)/pytest $(TEST_PROCESSES)
	$(BIN)/python -m benchmarks.prompt_cache

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
