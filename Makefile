# Everything a newcomer and CI run. `make` alone prints what there is.
# Only Python 3.11 or newer has to be there: uv comes into .tools, the packages into .venv, both on first use.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
RUN := .venv/bin
PACKAGES := api cli core db domain evaluation flows pipelines rag

export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
# Hundreds of processes are started here; each would compile every package anew, which takes twice as long.
unexport PYTHONDONTWRITEBYTECODE

# The newest Python that fits, named by PYTHON or found on PATH.
define FIND_PYTHON
found=""; \
for candidate in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$candidate; break; fi; \
done; \
if [ -z "$$found" ]; then \
  echo "No Python 3.11 or newer was found; install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; \
fi
endef

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: up
up: install ## start everything, with sample material on the first start; Ctrl-C stops it
	@exec $(RUN)/regenesis up $(ARGS)

.PHONY: demo
demo: install ## set up, ingest the sample material, print one cited answer, stop
	@exec $(RUN)/regenesis up --once $(ARGS)

.PHONY: install
install: .venv/.packages .venv/.project

.PHONY: test
test: install ## the whole test suite (ARGS="-k word" for a part)
	@$(RUN)/pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: check
check: install ## lint, types, import rules, models against migrations, then the whole test suite
	@$(MAKE) static
	@$(MAKE) test

.PHONY: static
static: install ## the part of check that runs no tests
	@$(RUN)/ruff check .
	@$(RUN)/ruff format --check --quiet .
	@$(RUN)/mypy
	@$(RUN)/lint-imports
	@$(MAKE) migrations

.PHONY: screenshots
screenshots: install ## pictures of every page at three widths, light and dark, into artifacts/screenshots
	@$(RUN)/python -m tests.web.screenshots

.PHONY: migrations
migrations: install ## migrate an empty database up and compare it with the models
	@home=$$(mktemp -d); chmod 755 "$$home"; trap 'rm -rf "$$home"' EXIT; \
	  env -u REGENESIS_DB__URL REGENESIS_HOME="$$home" $(RUN)/regenesis db migrate; \
	  env -u REGENESIS_DB__URL REGENESIS_HOME="$$home" $(RUN)/regenesis db check

.PHONY: lock
lock: $(UV) ## resolve the dependencies anew into requirements.lock
	@$(UV) pip compile -q pyproject.toml --all-extras --universal --generate-hashes -o requirements.lock

.PHONY: docs
docs: install ## write the generated pages under docs/
	@home=$$(mktemp -d); chmod 755 "$$home"; trap 'rm -rf "$$home"' EXIT; \
	  env -u REGENESIS_DB__URL REGENESIS_HOME="$$home" $(RUN)/python -m db.document

.PHONY: clean
clean: ## remove the virtual environments and caches (your data stays)
	@rm -rf .venv .tools build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

.tools/bin/uv:
	@$(FIND_PYTHON); \
	echo "Getting uv …"; \
	if ! "$$found" -m venv .tools >/dev/null 2>&1; then \
	  rm -rf .tools; \
	  echo "Python can't make virtual environments here; install its venv module (Debian: apt install python3-venv)." >&2; exit 1; \
	fi; \
	if ! .tools/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'; then \
	  rm -rf .tools; echo "uv could not be fetched; check the network, or install uv yourself." >&2; exit 1; \
	fi

.venv/bin/python: | $(UV)
	@$(FIND_PYTHON); $(UV) venv --quiet --allow-existing --python "$$found" .venv

.venv/.packages: requirements.lock .venv/bin/python | $(UV)
	@echo "Installing the packages of requirements.lock …"
	@$(UV) pip sync --quiet --python .venv --require-hashes requirements.lock
	@rm -f .venv/.project; touch $@

.venv/.project: pyproject.toml .venv/.packages | $(UV)
	@$(UV) pip install --quiet --python .venv --no-deps --editable .
	@touch $@
