# `make` says what there is. Everything runs from .venv, which `make install` fills from requirements.lock.

.DEFAULT_GOAL := help
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

VENV ?= .venv
# -qq: a machine's own extra indexes only warn here. --no-compile: Python compiles what is imported, when it is.
PIP := $(VENV)/bin/python -m pip install -qq --disable-pip-version-check --no-compile
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
    $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PARITY := $(VENV)/.parity
PLAN := $(VENV)/.plan
COMPILE = $(BIN)/uv pip compile --upgrade --quiet --universal --python-version 3.11 --fork-strategy fewest \
    --generate-hashes --no-config --default-index https://pypi.org/simple --custom-compile-command 'make lock'
RUN := runs/quickstart
SBOM := .venv-sbom
# Each worker runs eight devices; more than four workers gain little and cost memory.
PYTEST := $(BIN)/pytest -n logical --maxprocesses 4 --dist worksteal
# References are matched by optimised code; only MLIR's emitters, half of the time, stay out.
PARITY_XLA := --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1

.PHONY: help install install-plan quickstart test test-slow test-parity lint format bench lock sbom clean

help:  ## this list
	@sed -nE 's/^([a-z-]+):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do \
	    printf '  make %-12s %s\n' "$$name" "$$text"; done
	@echo '  PYTHON=python3.12 chooses the interpreter (3.11 to 3.13), JAXLM_DATA=DIR a folder of real text for tests.'

install: $(STAMP)  ## fill .venv from the lock; at once when it is up to date

$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { \
	    echo 'no Python 3.11 to 3.13 on the PATH, which jaxlm needs: make PYTHON=/path/to/python3.12' >&2; exit 2; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(not (3, 11) <= v < (3, 14) and \
	    f"$(PYTHON) is Python {v[0]}.{v[1]}, jaxlm needs 3.11 to 3.13: choose another, e.g. make PYTHON=python3.12")'
	@echo "jaxlm: setting up $(VENV) with $$($(PYTHON) --version) (a few minutes, once)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

install-plan: install $(PLAN)  ## what `jaxlm plan` compiles with for TPUs and GPUs (1.8 GB)

$(PLAN): requirements-plan.lock $(STAMP)
	@$(PIP) --require-hashes -r requirements-plan.lock
	@touch $@

quickstart: install  ## train, evaluate, sample and report a small model, from nothing
	$(BIN)/jaxlm train quickstart --run-dir $(RUN)
	$(BIN)/jaxlm eval $(RUN)
	$(BIN)/jaxlm generate $(RUN) --prompt $$'class Reader:\n    """Read ' --tokens 150
	$(BIN)/jaxlm report $(RUN)

test: install  ## the tests, in minutes
	$(PYTEST) -m 'not slow and not parity'

test-slow: install  ## the long ones: deadlocks, many kills, every flip
	XLA_FLAGS= $(PYTEST) -m 'slow and not parity'

test-parity: install $(PARITY)  ## against torch and transformers (installs them: torch is large)
	XLA_FLAGS='$(PARITY_XLA)' $(PYTEST) -m parity tests/parity

$(PARITY): requirements-parity.txt $(STAMP)
	@$(PIP) -r requirements-parity.txt
	@touch $@

lint: install  ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: install  ## what ruff can mend by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install  ## jaxlm beside its peers (installs them: torch is large)
	$(PIP) -e '.[bench]'
	for name in train_step loss_memory loader; do $(BIN)/python benchmarks/$$name.py --json; done

lock: install  ## resolve the newest releases into requirements.lock and requirements-plan.lock
	$(PIP) uv
	$(COMPILE) pyproject.toml --extra test --output-file requirements.lock
	$(BIN)/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	    print(*(one for name in ("plan-tpu", "plan-gpu") for one in p["optional-dependencies"][name]), sep="\n")' \
	    | $(COMPILE) - --constraint requirements.lock --output-file requirements-plan.lock

	echo 'cyclonedx-bom' | $(BIN)/uv pip compile - --output-file requirements-sbom.lock --upgrade --quiet \
	    --universal --python-version 3.11 --generate-hashes \
	    --no-config --default-index https://pypi.org/simple --custom-compile-command 'make lock'

sbom:  ## what jaxlm is made of, as CycloneDX: sbom.json, from requirements.lock
	@test -x $(SBOM)/bin/cyclonedx-py || { $(PYTHON) -m venv --clear $(SBOM) && \
	    $(SBOM)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-sbom.lock; }
	$(SBOM)/bin/python -W ignore -m cyclonedx_py requirements --pyproject pyproject.toml --mc-type library \
	    --output-reproducible --of JSON -o sbom.json requirements.lock

clean:  ## remove .venv and caches; runs and shards stay
	rm -rf $(VENV) $(SBOM) sbom.json .cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
