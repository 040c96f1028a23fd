# Needs Python 3.11 to 3.13 and make; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin
ENVIRONMENT := .venv/.made

.PHONY: help demo test test-fast proofs lint bench models clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' Makefile

demo: $(ENVIRONMENT)  ## train LeNet, export it, prove it, read a picture without torch
	$(BIN)/mnist-edge demo

WORKERS ?= auto
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal
test: $(ENVIRONMENT)  ## all tests, on all cores; those on MNIST run where it is found
	$(PYTEST) -m "not proof"

test-fast: $(ENVIRONMENT)  ## the tests that take under a minute together, for while one works
	$(PYTEST) -m "not slow and not proof"

proofs: $(ENVIRONMENT)  ## what is slow by nature: another processor, emulated (needs qemu-user)
	$(PYTEST) -m proof

lint: $(ENVIRONMENT)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(ENVIRONMENT)  ## measure, and write benchmarks/RESULTS.md
	$(BIN)/python benchmarks/run.py

JOBS ?= 2
PICTURES ?=
models: $(ENVIRONMENT)  ## train the reference models again, in build/, and prove their artifacts: hours; it can be interrupted
	$(BIN)/python benchmarks/reference_models.py --jobs $(JOBS) $(if $(PICTURES),--pictures $(PICTURES))

$(ENVIRONMENT): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "error: $(PYTHON) is not Python 3.11 to 3.13; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "installing torch and the rest into .venv (about 6 GB; a few minutes)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[train,dev]"
	@touch $@

clean:  ## remove the environment and what the demo wrote
	rm -rf .venv demo
