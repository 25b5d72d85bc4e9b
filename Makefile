# Needs Python >= 3.11 with venv and pip, and make. PYTHON=/path/to/python3 chooses another one.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help run test faults demo bench clean-venv

help:
	@echo "make run         everything, until Ctrl-C (settings: CLOCK_* in the environment)"
	@echo "make test        lint, types and all tests, as in CI"
	@echo "make faults      rounds under killed processes, about a quarter of an hour (SEED=… replays one)"
	@echo "make demo        one whole day with 10,000 simulated users"
	@echo "make bench       the benchmarks"
	@echo "make clean-venv  remove $(VENV); the next command makes it anew"

run: $(STAMP)
	@CLOCK_ENV="$${CLOCK_ENV:-dev}" exec $(VENV)/bin/clock up

demo: $(STAMP)
	@exec $(VENV)/bin/clock demo

bench: $(STAMP)
	@exec $(VENV)/bin/python -m bench

test: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest

faults: $(STAMP)
	@exec $(VENV)/bin/python -m tests.faults $(if $(SEED),--seed $(SEED))

clean-venv:
	rm -rf $(VENV)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python >= 3.11 is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(VENV)/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  || $(PYTHON) -m venv --clear $(VENV) \
	  || { echo "$(PYTHON) cannot make $(VENV): install its venv module (Debian: apt install python3-venv)" >&2; exit 1; }
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
