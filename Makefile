# Every target sets up what it needs: a virtual environment in .venv, then the install. A second call does not repeat it.
#   make demo    the whole way on a made-up data set: no data, no GPU, at most 3 minutes after the install
#   make test    the test suite
#   make check   lint, types, imports and tests: what must pass before a change is taken
#
# Settings: PYTHON=python3.12 picks the interpreter; CONSTRAINTS= installs the newest versions, not the tested ones.

VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := constraints/tested.txt
DEMO := demo
PYTHON :=
PYTEST_FLAGS := -n 2

PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check
CONSTRAIN := $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
# Both stamps are written after the last step of an install, so an interrupted install starts again.
USER_STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
INPUTS := pyproject.toml $(CONSTRAINTS)

.DEFAULT_GOAL := help
.PHONY: help install install-dev demo test lint format types imports check clean distclean

help:
	@sed -n 's/^#   make /  make /p' Makefile

install: $(USER_STAMP)

install-dev: $(DEV_STAMP)

demo: $(USER_STAMP)
	$(BIN)/segmed demo --out $(DEMO)

test: $(DEV_STAMP)
	$(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: $(DEV_STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(DEV_STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

types: $(DEV_STAMP)
	$(BIN)/mypy

imports: $(DEV_STAMP)
	$(BIN)/lint-imports --no-cache

check: lint types imports test

clean:
	rm -rf build dist $(DEMO) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) src/*.egg-info

$(BIN)/python:
	@set -e; found=""; \
	for candidate in $(if $(PYTHON),$(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
	  if "$$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    found="$$candidate"; break; \
	  fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "SegMed needs Python 3.11 or newer with the venv module, and found none." >&2; \
	  echo "Install one (on Debian and Ubuntu also its python3-venv package), or name it: make PYTHON=/path/to/python3" >&2; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv $(VENV)

$(USER_STAMP): $(INPUTS) | $(BIN)/python
	@echo "Installing SegMed and what it needs; the first time downloads PyTorch and takes some minutes."
	$(PIP_INSTALL) -e ".[weights]" $(CONSTRAIN)
	@touch $@

$(DEV_STAMP): $(INPUTS) | $(BIN)/python
	@echo "Installing SegMed with its checks; the first time downloads PyTorch and takes some minutes."
	$(PIP_INSTALL) -e ".[dev]" $(CONSTRAIN)
	@touch $(USER_STAMP) $@
