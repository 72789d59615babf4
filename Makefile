# Everything starts here: `make demo` shows it, `make test` proves it. Needs Python 3.11, make, git.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PEERS  := .venv-bench
GRADIO := .venv-gradio
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# The tests start many processes of ours: none should have to compile us anew.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long lint bench lock clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

$(VENV)/run.stamp: requirements/run.txt pyproject.toml
	@echo "installing what serving needs (once; a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements/run.txt
	@$(PIP) --no-deps --no-build-isolation --no-index -e .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.txt
	@echo "installing what the tests need (once)"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

setup: $(VENV)/run.stamp ## install into .venv, pinned by hash
	@echo "ready: $(BIN)/millstream --help"

demo: $(VENV)/run.stamp ## serve all systems and stream a sample batch (ONCE=1: end after it)
	@$(BIN)/python -m examples.demo $(if $(ONCE),--once)

test: $(VENV)/dev.stamp lint ## lint, types, and every test but the long ones
	@$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m "not long"

test-long: $(VENV)/dev.stamp ## every test, the long forms too, properties with ten times the examples, other ones each time
	@$(PYTEST) --hypothesis-profile=thorough

lint: $(VENV)/dev.stamp ## ruff and pyright
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

.venv-%/peers.stamp: requirements/%.txt
	@echo "installing what the benchmarks compare with: $< (once)"
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo '*' > $(@D)/.gitignore
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# Questions 1, 2 and 8 in full ask Gradio; the short form does not wait for it.
ASKS_GRADIO := $(if $(QUICK),,$(foreach each,1 2 8,$(findstring $(each),$(or $(ONLY),$(each)))))

bench: $(VENV)/run.stamp $(PEERS)/peers.stamp $(if $(strip $(ASKS_GRADIO)),$(GRADIO)/peers.stamp) ## compare with peers (ONLY=1,3-highest: some questions; QUICK=1: under 2 minutes)
	@$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(QUICK),--quick) $(if $(MIDDLE),--middle) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(AMONG),--among "$(AMONG)")

lock: ## renew requirements/*.txt (needs uv)
	@requirements/lock.sh

clean: ## remove what was installed and made here
	@rm -rf $(VENV) $(PEERS) $(GRADIO) .millstream build dist bench/build
