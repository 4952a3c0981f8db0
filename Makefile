# Each target sets up what it needs by itself, in $(VENV). `make PYTHON=python3.12 VENV=.venv-3.12 test` takes another.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV ?= .venv
RUN = $(VENV)/bin/python
SETUP = $(VENV)/.set-up
NODE_TESTS = tests/node
NODE_SETUP = $(NODE_TESTS)/node_modules/.set-up

.PHONY: help demo test test-fast test-node setup-node simulate mutants chaos benchmarks lint types check format clean
.DEFAULT_GOAL := help

help:
	@echo "make demo       run the main job on this repository's own history"
	@echo "make test       run the tests, with coverage"
	@echo "make test-fast  the same tests but for the slowest, without coverage: in about a third of the time"
	@echo "make test-node  test the emulator with Google's JavaScript clients (Node.js 20.11 or later)"
	@echo "make simulate   attack the promises: SEEDS=1000 histories with faults, from START (any by default)"
	@echo "make mutants    see that the simulation finds mistakes: each mutant of the library within 500 seeds"
	@echo "make chaos      kill processes of an application and its emulators for SECONDS=120, and check the promises"
	@echo "make benchmarks run them, and refresh the tables and plots of benchmarks/README.md: some half an hour"
	@echo "make lint       ruff: check and format"
	@echo "make types      mypy --strict"
	@echo "make check      all of these"
	@echo "make format     let ruff format the code"
	@echo "make clean      remove what these made"

# a new pyproject.toml may mean new dependencies
$(SETUP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "eventbox needs Python 3.11 or later; none was found on the PATH" >&2; exit 1; }
	@echo "Setting up $(VENV) ..."
	@$(PYTHON) -m venv --clear "$(VENV)"
	@$(RUN) -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[dev]' --group dev
	@touch "$(SETUP)"

demo: $(SETUP)
	@$(RUN) -m eventbox demo $(DEMO)

test-fast: $(SETUP)
	@$(RUN) -m pytest --numprocesses 2 -m "not slow" $(TESTS)

test: $(SETUP)
	@$(RUN) -m pytest --numprocesses 2 --cov --cov-report= $(TESTS)
	@$(RUN) -m coverage report --skip-covered --omit "emulator/*,eventbox/demo/*,eventbox/dev/*,eventbox/cli/*,*/__main__.py" --fail-under 95

# a new lock may mean other versions
$(NODE_SETUP): $(NODE_TESTS)/package.json $(NODE_TESTS)/package-lock.json
	@command -v node >/dev/null && command -v npm >/dev/null || { \
		echo "make test-node needs Node.js 20.11 or later, with npm; none was found on the PATH" >&2; exit 1; }
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(+a < 20 || (+a === 20 && +b < 11) ? 1 : 0)' || { \
		echo "make test-node needs Node.js 20.11 or later; this is $$(node --version)" >&2; exit 1; }
	@echo "Setting up $(NODE_TESTS)/node_modules ..."
	@cd $(NODE_TESTS) && npm ci --loglevel=error --ignore-scripts
	@touch "$(NODE_SETUP)"

setup-node: $(NODE_SETUP)

test-node: $(SETUP) $(NODE_SETUP)
	@cd $(NODE_TESTS) && PYTHON="$(abspath $(RUN))" npm test --silent

simulate: $(SETUP)
	@$(RUN) -m tests.simulation $(if $(SEEDS),--seeds $(SEEDS)) $(if $(START),--start $(START)) $(if $(WORKLOAD),--workload $(WORKLOAD))

mutants: $(SETUP)
	@$(RUN) -m tests.simulation.mutants

chaos: $(SETUP)
	@$(RUN) -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

benchmarks: $(SETUP)
	@$(RUN) -m benchmarks.all $(BENCHMARKS)

lint: $(SETUP)
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .

types: $(SETUP)
	@$(RUN) -m mypy
	@MYPYPATH=examples/orders $(RUN) -m mypy --package orders
	@$(RUN) -m mypy examples/counters.py

check: lint types test demo

format: $(SETUP)
	@$(RUN) -m ruff check --fix .
	@$(RUN) -m ruff format .

clean:
	@rm -rf $(NODE_TESTS)/node_modules .venv .venv-* .coverage .coverage.* htmlcov build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
