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
	@awk -F ':.*## ' '/^[a-z0-9.-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(WATCH) ## the whole product on this machine, told as a story (ONCE=1: tell it once and exit)
	@deploy/system.sh demo
	@$(BIN)/processor rules check deploy/demo/rules.yaml --warm >/dev/null
	@exec $(BIN)/python -m deploy.demo $(if $(filter 1,$(ONCE)),--once)

.PHONY: test
test: $(DEV) ## every test, on a real broker and a real Kafka protocol
	@deploy/system.sh test
	@$(BIN)/processor rules check deploy/demo/rules.yaml --warm >/dev/null
	@$(BIN)/python -m tests.support.kafka
	@$(BIN)/pytest $(or $(PYTEST),-n 4 -q)

.PHONY: test-mosquitto-2.1
test-mosquitto-2.1: $(DEV) ## the broker's tests on Mosquitto 2.1.2, with the plugin that 2.0 runs
	@deploy/system.sh broker
	@deploy/mosquitto.sh
	@$(BIN)/python -m tests.variants 2.1

.PHONY: test-asan
test-asan: $(DEV) ## the broker's tests with the plugin under AddressSanitizer and UBSan
	@deploy/system.sh demo
	@$(BIN)/python -m tests.variants asan

.PHONY: soak
soak: $(DEV) ## 1,000 devices at the gate and 5,000 messages a second through the watch, for DURATION seconds (1200)
	@deploy/system.sh test
	@$(BIN)/python -m tests.soak --duration $(or $(DURATION),1200)

.PHONY: test-durability
test-durability: $(DEV) ## a million samples while everything is killed: nothing lost, nothing twice (6 to 15 minutes)
	@deploy/system.sh test
	@$(BIN)/python -m tests.durability

.PHONY: bench-mosquitto
bench-mosquitto: $(DEV) ## what the gate costs the broker, against C, the password file and nobody
	@deploy/system.sh bench
	@$(BIN)/python -m tests.bench.mosquitto

.PHONY: coverage
coverage: $(DEV) ## every branch of tokens, keys and topics is taken by their unit tests, or it fails
	@mkdir -p build
	@COVERAGE_FILE=build/coverage $(BIN)/coverage run --source=authplugin/jose,authplugin/keys,authplugin/topics \
	  -m pytest -q $(addprefix tests/unit/authplugin/,jose keys topics test_gate.py test_gate_issuers.py test_gate_possession.py)
	@COVERAGE_FILE=build/coverage $(BIN)/coverage report --show-missing --skip-covered --fail-under=100

.PHONY: fuzz
fuzz: $(DEV) ## atheris on tokens, key sets, topics and more, SECONDS (60) each; corpora in build/fuzz
	@$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),60)

.PHONY: fuzz-payloads
fuzz-payloads: $(DEV) ## 100,000 hostile payloads of every format of telemetry, each accounted for (minutes)
	@$(BIN)/python -m tests.fuzz.payloads

.PHONY: mutate
mutate: $(DEV) ## do the tests of tokens and topics see small mistakes in them? build/mutate/report.json
	@$(BIN)/python -m tests.mutate

.PHONY: bench-gate
bench-gate: $(DEV) ## what judging a token costs, against the bare signature check and other libraries
	@$(BIN)/python -m tests.bench.gate

.PHONY: bench-stream
bench-stream: $(DEV) ## what the watch costs, against a bare loop and other stream processors
	@deploy/system.sh test
	@$(BIN)/python -m tests.bench.stream

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
