# Everything from a fresh machine with Python >= 3.11, git and make. `make` alone lists the targets.
# uv installs where it is present, pip otherwise. Packages are installed again only when pyproject.toml changed.

BIN := .venv/bin
# What the tests install: `make test EXTRAS=test,interop` compares with torch, transformers and CTranslate2 as well.
EXTRAS ?= test

.PHONY: help quickstart test test-all lint format ci clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

quickstart: .venv/.installed  ## Install, then train a translator on the built-in corpus and score it (5 minutes)
	$(BIN)/wmt-transformer quickstart

test: .venv/.installed-test  ## Install, then run the tests
	$(BIN)/python -m pytest -n auto --dist loadfile

test-all: .venv/.installed-test  ## Install, then run the tests, slow ones included
	$(BIN)/python -m pytest -n auto --dist loadfile -m "slow or not slow"

lint: .venv/.installed-test  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: .venv/.installed-test  ## Mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ci: lint test  ## What .ci/run does

clean:  ## Remove the virtual environment and caches; runs/ stays
	rm -rf .venv dist build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The first Python of 3.11 to 3.13 that can make a virtual environment; `make PYTHON=/path/to/python` overrides.
USABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python; do \
	  if $$python -c '$(USABLE)' >/dev/null 2>&1; then command -v $$python; break; fi; done)

.venv/bin/python:
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --python "$${PYTHON:-$(or $(PYTHON),3.13)}" .venv; \
	elif [ -n "$(PYTHON)" ]; then \
	  "$(PYTHON)" -m venv .venv; \
	else \
	  echo "make: found no Python 3.11, 3.12 or 3.13 with the venv module, python3 here is: $$(python3 --version 2>&1)." >&2; \
	  echo "      Install one (Debian, Ubuntu: apt install python3 python3-venv), or give make PYTHON=/path/to/python." >&2; \
	  exit 1; \
	fi

define install
	@if command -v uv >/dev/null 2>&1; then uv pip install --python $(BIN)/python -e '$(1)'; \
	else $(BIN)/python -m pip install --disable-pip-version-check -e '$(1)'; fi
	@touch $@
endef

.venv/.installed: pyproject.toml | .venv/bin/python
	$(call install,.)

.venv/.installed-test: pyproject.toml | .venv/bin/python
	$(call install,.[$(EXTRAS)])
	@touch .venv/.installed
