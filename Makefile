# Needs Python >= 3.11 with venv and pip, make and bash. PYTHON=/path/to/python3 chooses another one.
SHELL := bash
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
# The tests of the pages need a browser. PAGES=yes insists on them, PAGES=no leaves them out; otherwise they run where
# there is a browser, or where one can be installed: as root on Debian or Ubuntu, with a font for Chinese.
PAGES ?= maybe
FIND_BROWSER := (for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; exit 1)
INSTALL_BROWSER := (test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq \
  && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium fonts-noto-cjk >/dev/null)
NO_BROWSER := They need Chromium or Chrome on PATH (Debian: apt install chromium).

.DEFAULT_GOAL := help
.PHONY: help run test chromium screenshots faults demo bench clean-venv

help:
	@echo "make run         everything, until Ctrl-C (settings: CLOCK_* in the environment)"
	@echo "make test        lint, types and all tests, as in CI (PAGES=no: without those that need a browser)"
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

# The flow tests mostly wait, for disks and clocks: the others run beside them, on servers of their own.
test: $(STAMP)
	@test "$(PAGES)" = no || $(FIND_BROWSER) || $(INSTALL_BROWSER) || test "$(PAGES)" != yes \
	  || { echo "The tests of the pages cannot run. $(NO_BROWSER)" >&2; exit 1; }
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	@ignored=; test "$(PAGES)" != no && $(FIND_BROWSER) || ignored=--ignore=tests/page; \
	set -m; said=$$(mktemp); $(VENV)/bin/python -m pytest tests/flow >$$said 2>&1 & flow=$$!; set +m; \
	trap 'kill -INT $$flow; wait $$flow; rm $$said; exit 130' INT TERM; \
	$(VENV)/bin/python -m pytest --ignore=tests/flow $$ignored; rest=$$?; \
	wait $$flow; flowed=$$?; cat $$said; rm $$said; test $$rest = 0 && test $$flowed = 0 || exit 1; \
	test -z "$$ignored" || echo "*** THE TESTS OF THE PAGES WERE LEFT OUT *** $(NO_BROWSER)" >&2

chromium:
	@$(FIND_BROWSER) || $(INSTALL_BROWSER) || { echo "No browser is found, and none could be installed. $(NO_BROWSER)" >&2; exit 1; }

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
