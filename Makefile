# Needs Python >= 3.11 with venv and pip, and make. PYTHON=/path/to/python3 chooses another one.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
# PAGES=no leaves out the tests that need a browser, and says so.
PAGES ?= yes

.DEFAULT_GOAL := help
.PHONY: help run test chromium screenshots faults demo bench clean-venv

help:
	@echo "make run         everything, until Ctrl-C (settings: CLOCK_* in the environment)"
	@echo "make test        lint, types and all tests, as in CI"
	@echo "make chromium    the browser that the tests of the pages need, where apt can install it"
	@echo "make screenshots plays a day in the browser and keeps its pictures in docs/screenshots"
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

test: $(STAMP) $(if $(filter no,$(PAGES)),,chromium)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	@$(if $(filter no,$(PAGES)),echo "PAGES=no: the tests of the pages are left out")
	$(VENV)/bin/python -m pytest $(if $(filter no,$(PAGES)),--ignore=tests/page)

# Any Chromium or Chrome on PATH will do. As root on Debian or Ubuntu it is installed, with a font for Chinese.
chromium:
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium fonts-noto-cjk >/dev/null; \
	else \
	  echo "The tests of the pages need Chromium or Chrome on PATH. Install one (Debian: apt install chromium)," >&2; \
	  echo "or leave those tests out: make test PAGES=no" >&2; exit 1; \
	fi

screenshots: $(STAMP) chromium
	@exec $(VENV)/bin/python -m tests.page.screenshots

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
