# Every target creates and uses .venv in this directory; `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
LOCK := deploy/lock
SOURCES := authplugin processor deploy tests

# A stamp is older than the lock it was made from when the lock has changed since.
WATCH := $(VENV)/.assetgate-watch
DEV := $(VENV)/.assetgate-dev

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(WATCH) ## the whole product on this machine, told as a story (ONCE=1: tell it once and exit)
	@deploy/system.sh demo
	@$(BIN)/processor rules check deploy/demo/rules.yaml --warm >/dev/null
	@exec $(BIN)/python -m deploy.demo $(if $(filter 1,$(ONCE)),--once)

.PHONY: test
test: $(DEV) ## every test, on a real broker and a real Kafka protocol
	@deploy/system.sh test
	@$(BIN)/processor rules check deploy/demo/rules.yaml --warm >/dev/null
	@$(BIN)/pytest $(or $(PYTEST),-n 4 -q)

.PHONY: lint
lint: $(DEV) ## ruff, mypy --strict, the floors, the locks
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m deploy.lock --check

.PHONY: format
format: $(DEV) ## rewrite the sources as the linters want them
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

.PHONY: setup
setup: $(DEV) ## .venv with everything development needs
	@deploy/system.sh test

.PHONY: lock
lock: $(DEV) ## resolve the dependencies anew and write deploy/lock/*.txt
	@$(BIN)/python -m deploy.lock

.PHONY: reference
reference: $(DEV) ## write docs/reference/ anew from the code
	@$(BIN)/python -m deploy.reference

.PHONY: clean
clean: ## remove what the targets made, .venv included
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(WATCH): pyproject.toml $(LOCK)/build.txt $(LOCK)/watch.txt
	@deploy/venv.sh $(VENV) $(LOCK)/build.txt $(LOCK)/watch.txt
	@touch $@

$(DEV): $(WATCH) $(LOCK)/dev.txt
	@deploy/venv.sh $(VENV) $(LOCK)/dev.txt
	@touch $@
