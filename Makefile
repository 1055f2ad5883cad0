# Two commands set everything up: `make demo` and `make test`. Both need only Python >= 3.11, pip and make.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# One thread per process: the work is many small matrices, and two workers share two cores better than threads do.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-all install install-dev check type format site bench bench-full clean

help:  ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(VENV)/.core  ## set up and see all rooms in small: a few minutes, ends with a report
	$(BIN)/digsite demo

test: $(VENV)/.test  ## set up and run the tests: under 15 minutes on two cores
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not scheduler and not browser"

test-all: $(VENV)/.all  ## slow, scheduler and browser tests too; installs SLURM and Chromium where it may
	bash tests/install-system-packages.sh
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not scheduler and not browser"
	$(BIN)/python -m pytest -m "scheduler or browser"

install: $(VENV)/.core  ## the package and what it needs

install-dev: $(VENV)/.test  ## everything for working on it, with pre-commit hooks
	$(PIP) pre-commit && $(BIN)/pre-commit install

check: $(VENV)/.test  ## format, lint, types, layering: checkers, never fixers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/basedpyright

type: $(VENV)/.test  ## types alone
	$(BIN)/basedpyright

format: $(VENV)/.test  ## mend format and imports
	$(BIN)/ruff check --fix-only --quiet . ; $(BIN)/ruff format .

site: $(VENV)/.core  ## the documentation as a static folder: site/index.html
	$(BIN)/python docs/build_site.py site

bench: $(VENV)/.test  ## the speed tables, as ratios in one run: minutes
	$(BIN)/python bench/run.py

bench-full: $(VENV)/.test  ## the published step counts and the quality tables: hours, resumes
	$(BIN)/python bench/run.py --full

clean:  ## remove the virtual environment and caches; runs stay
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("digsite needs Python 3.11 or newer, but $(PYTHON) is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip

$(VENV)/.core: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) torch
	$(PIP) --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.core
	$(PIP) --group test --group check --group oracles
	@touch $@

$(VENV)/.all: $(VENV)/.test
	$(PIP) --group browser --editable '.[tensorboard,mlflow,wandb,ray,search]'
	@touch $@
