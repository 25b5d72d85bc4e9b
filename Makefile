# Needs Python 3.11 or newer with venv and pip, make and bash. PYTHON=/path/to/python3 chooses another one.
SHELL := bash
# Tests start hundreds of processes: without kept bytecode each would compile the whole service.
unexport PYTHONDONTWRITEBYTECODE
VENV ?= .venv
# The environment's own Python, else the first that is tested; python3, to say why, where none is.
ifndef PYTHON
PYTHON := $(shell for python in $(VENV)/bin/python python3 python3.14 python3.13 python3.12 python3.11; do \
  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && echo $$python && exit; done; echo python3)
endif
INSTALL = @$(PYTHON) requirements/install.py $(VENV)
# Tests wait for a third of the time, for disks and clocks: more processes than cores. Each takes ten seconds to begin.
JOBS ?= 4
# Two tests at a time go to a process: by default the first would get all the long ones.
PYTEST = $(VENV)/bin/python -m pytest -n $(JOBS) --maxschedchunk 2
# A page in a browser keeps time only on a machine that is not busy with other tests; each process has a browser,
# and each file a service.
PAGE_TESTS = $(VENV)/bin/python -m pytest -n 2 --dist loadfile tests/page
# The tests of the pages need a browser. PAGES=yes insists on them, PAGES=no leaves them out; otherwise they run where
# there is a browser, or where one can be installed: as root on Debian or Ubuntu, with a font for Chinese.
PAGES ?= maybe
FIND_BROWSER := (for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; exit 1)
INSTALL_BROWSER := (test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get update -qq \
  && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium fonts-noto-cjk >/dev/null)
NO_BROWSER := They need Chromium or Chrome on PATH (Debian: apt install chromium).
LEFT_OUT := *** The tests of the pages are left out. $(NO_BROWSER) ***

# CHANNEL=wechat or alipay plays that provider beside the service: nothing leaves this machine, and no money moves.
ON_CHANNEL = $(if $(CHANNEL),CLOCK_CHANNEL=$(CHANNEL))

.DEFAULT_GOAL := help
.PHONY: help run-env dev-env run test test-short test-newest lint types unit lua flow model headless page chromium screenshots \
  faults demo bench scale lock clean-venv clean-data

help:
	@echo "make run         everything, until Ctrl-C (settings: CLOCK_* in the environment; CHANNEL=wechat or alipay: on a double of it)"
	@echo "make test        lint, types and all tests, as in CI (PAGES=no: without those that need a browser)"
	@echo "make lint, types, unit, lua, flow, model, page   a part of it; ARGS='-x --lf -k claim' is for pytest"
	@echo "make test-short  all tests but the long ones and those of the pages"
	@echo "make test-newest the same with the newest versions of all dependencies that pyproject.toml allows"
	@echo "make demo        one whole day with 10,000 simulated users (USERS=500, CHANNEL=wechat or alipay)"
	@echo "make faults      rounds under killed processes, about a quarter of an hour (SEED=… replays one; TOPOLOGY=cluster: on six nodes; CHANNEL=wechat or alipay)"
	@echo "make bench       the benchmarks"
	@echo "make scale       what has to stay the same at any age and size of the game, measured (QUICK=yes: in small)"
	@echo "make screenshots plays a day in the browser and keeps its pictures in docs/screenshots"
	@echo "make chromium    the browser that the tests of the pages need, where apt can install it"
	@echo "make lock        brings requirements/*.txt up to date with pyproject.toml and the newest versions"
	@echo "make clean-venv  removes $(VENV); the next command makes it anew"
	@echo "make clean-data  removes what make run has kept: all rounds and all accounts"

run-env:
	$(INSTALL) run

dev-env:
	$(INSTALL) dev

run: run-env
	@$(ON_CHANNEL) CLOCK_ENV="$${CLOCK_ENV:-dev}" exec $(VENV)/bin/python -m clock up

demo: run-env
	@$(ON_CHANNEL) exec $(VENV)/bin/python -m clock demo $(if $(USERS),--users $(USERS))

bench: dev-env
	@exec $(VENV)/bin/python -m bench

scale: dev-env
	@exec $(VENV)/bin/python -m bench $(if $(QUICK),--quick) growth day reconcile rebuild size

lint: dev-env
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .

types: dev-env
	$(VENV)/bin/python -m mypy

unit lua flow model: dev-env
	$(PYTEST) tests/$@ $(ARGS)

# All but those of the pages.
headless: dev-env
	$(PYTEST) tests --ignore=tests/page $(ARGS)

page: dev-env chromium
	$(PAGE_TESTS) $(ARGS)

test: dev-env
	@test "$(PAGES)" = no || $(FIND_BROWSER) || $(INSTALL_BROWSER) || test "$(PAGES)" != yes \
	  || { echo "The tests of the pages cannot run. $(NO_BROWSER)" >&2; exit 1; }
	@test "$(PAGES)" != no && $(FIND_BROWSER) || echo "$(LEFT_OUT)" >&2
	@$(MAKE) --no-print-directory lint types headless
	@if test "$(PAGES)" != no && $(FIND_BROWSER); then echo "$(PAGE_TESTS)"; $(PAGE_TESTS) $(ARGS); \
	else echo "$(LEFT_OUT)" >&2; fi

test-short: dev-env
	$(PYTEST) tests -m "not long" --ignore=tests/page $(ARGS)

test-newest: VENV := .venv-newest
test-newest:
	$(PYTHON) -m venv --clear $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --upgrade --group build --editable '.[embedded,dev]'
	$(PYTEST) tests -m "not long" --ignore=tests/page $(ARGS)

chromium:
	@$(FIND_BROWSER) || $(INSTALL_BROWSER) || { echo "No browser is found, and none could be installed. $(NO_BROWSER)" >&2; exit 1; }

screenshots: dev-env chromium
	@exec $(VENV)/bin/python -m tests.page.screenshots

faults: dev-env
	@exec $(VENV)/bin/python -m tests.faults --channel $(or $(CHANNEL),platform) --topology $(or $(TOPOLOGY),one) $(if $(SEED),--seed $(SEED))

# dev has everything; the others take its versions. One file is good for every Python and system.
COMPILE = $(VENV)/bin/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-find-links --custom-compile-command "make lock"
lock: dev-env
	$(COMPILE) --upgrade pyproject.toml --extra embedded --extra dev --group build -o requirements/dev.txt
	$(COMPILE) --upgrade pyproject.toml --extra embedded --group build -c requirements/dev.txt -o requirements/run.txt
	$(COMPILE) --upgrade pyproject.toml -c requirements/dev.txt -o requirements/prod.txt
	$(COMPILE) --upgrade --group build -c requirements/dev.txt -o requirements/build.txt

clean-venv:
	rm -rf $(VENV)

clean-data: run-env
	@$(VENV)/bin/python -m clock remove-data
