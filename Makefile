# Everything from a fresh machine with Python >= 3.11, git and make. `make` alone lists the targets.
# uv installs where it is present, pip otherwise. Packages are installed again only when pyproject.toml changed.

BIN := .venv/bin
# What the tests install: `make test EXTRAS=test,interop` compares with torch, transformers and CTranslate2 as well.
EXTRAS ?= test
# Files that `make test-newest` runs, all of them by default; `make ci` those of the model, its training and decoding.
TESTS ?=
CORE := $(patsubst %,tests/test_%.py,attention batches beam config executables generate golden language_model loss \
  metrics optimizer sampling settings sharding transformer vocabulary)

.PHONY: help quickstart test test-all test-newest lint style types format docs linkcheck dist ci clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

quickstart: .venv/.installed  ## Install, then train a translator on the built-in corpus and score it (5 minutes)
	$(BIN)/wmt-transformer quickstart

test: .venv/.installed-test  ## Install, then run the tests
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-all: .venv/.installed-test  ## Install, then run the tests, slow ones included
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "slow or not slow"

test-newest:  ## Run the tests with the newest JAX, on Python 3.13 or 3.12; skipped where there is neither
	@if [ -z "$(NEWEST)" ]; then \
	  echo "make: found no Python 3.13 or 3.12, which the newest JAX needs: not tested with it"; \
	else \
	  $(MAKE) --no-print-directory test-with-newest; \
	fi

.PHONY: test-with-newest
test-with-newest:  # in an environment made anew, as what is newest changes
	"$(NEWEST)" -m venv --clear .venv-newest
	$(call install,.venv-newest,.[test])
	.venv-newest/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(TESTS)

lint: style types  ## Check style, spelling and types

style: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: .venv/.installed-test
	$(BIN)/pyright

format: .venv/.installed-test  ## Mend style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: .venv/.installed-docs  ## Build the documentation, English and Chinese, into docs/_build; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q -c docs -D language=en docs/en docs/_build/en
	$(BIN)/python -m sphinx -W --keep-going -q -c docs -D language=zh_CN docs/zh_cn docs/_build/zh_cn

linkcheck: .venv/.installed-docs  ## Follow every external link of the documentation and of the READMEs
	$(BIN)/python -m sphinx -b linkcheck -q -c docs -D language=en docs/en docs/_build/linkcheck/en
	$(BIN)/python -m sphinx -b linkcheck -q -c docs -D language=zh_CN docs/zh_cn docs/_build/linkcheck/zh_cn
	$(BIN)/python -m sphinx -b linkcheck -q -C -D extensions=myst_parser -D root_doc=README \
	  -D include_patterns=README.md,README.zh-CN.md -D exclude_patterns=.venv,runs \
	  -D suppress_warnings=myst.xref_missing,toc.not_included . docs/_build/linkcheck/readme

dist: .venv/.installed-test  ## Build the source distribution and the wheel into dist/
	rm -rf dist
	mkdir dist && $(BIN)/python -c "import hatchling.build as b; b.build_sdist('dist'); b.build_wheel('dist')"

# Types and pages take a core each, so they share the time, when all that they need is installed.
ci: .venv/.installed-test .venv/.installed-docs  ## What .ci/run does
	$(MAKE) --no-print-directory style
	$(MAKE) --no-print-directory -j 2 types docs
	$(MAKE) --no-print-directory test
	$(MAKE) --no-print-directory test-newest TESTS="$(CORE)"

clean:  ## Remove the virtual environments and caches; runs/ stays
	rm -rf .venv .venv-newest dist build docs/_build docs/*/reference docs/*/project docs/*/notebooks .pytest_cache .ruff_cache .hypothesis
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

# Python 3.13 or 3.12, by its name or from pyenv, whose `python3.13` runs only where that version is chosen.
NEWEST = $(shell for version in 3.13 3.12; do \
	  for python in python$$version "$$(pyenv prefix $$version 2>/dev/null)/bin/python"; do \
	    if "$$python" -c '$(USABLE)' >/dev/null 2>&1; then command -v "$$python"; exit; fi; done; done)

# $(call install,environment,what)
define install
	@if command -v uv >/dev/null 2>&1; then uv pip install --python $(1)/bin/python -e '$(2)'; \
	else $(1)/bin/python -m pip install --disable-pip-version-check -e '$(2)'; fi
endef

.venv/.installed: pyproject.toml | .venv/bin/python
	$(call install,.venv,.[serve])  # so that `serve` is one command after the quickstart
	@touch $@

.venv/.installed-test: pyproject.toml | .venv/bin/python
	$(call install,.venv,.[$(EXTRAS)])
	@touch $@ .venv/.installed

.venv/.installed-docs: pyproject.toml | .venv/bin/python
	$(call install,.venv,.[docs])
	@touch $@ .venv/.installed
