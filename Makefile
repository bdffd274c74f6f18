.DEFAULT_GOAL := help
.PHONY: help demo test test-containers check fmt bench chaos up down venv schemas

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
ARGS ?=

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml requirements.lock
	@echo "preparing .venv (first time: about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

venv: $(STAMP) ## Build the virtual environment from the lock file

demo: $(STAMP) ## Replay a real day of calls through all four services (ARGS=--once ends by itself)
	@$(BIN)/ringback demo $(ARGS)

check: $(STAMP) ## Lint, types and unit tests; changes nothing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pytest tests/unit -q

test: $(STAMP) ## Every test, on real Kafka and MongoDB (ARGS="-k ..." for some)
	@$(BIN)/pytest $(ARGS)

test-containers: $(STAMP) ## The integration tests on containers (testcontainers)
	@$(BIN)/pytest tests/integration --provider containers $(ARGS)

fmt: $(STAMP) ## Format and mend what can be mended
	@$(BIN)/ruff check --fix -q . || true
	@$(BIN)/ruff format .

bench: $(STAMP) ## Measure latency end to end and the sequencer's rate; prints a table, writes bench.json
	@$(BIN)/ringback bench $(ARGS)

chaos: $(STAMP) ## The long form of the tests that kill, pause and restart things
	@RINGBACK_CHAOS_ROUNDS=$${RINGBACK_CHAOS_ROUNDS:-60} $(BIN)/pytest tests/chaos $(ARGS)

up: $(STAMP) ## Start Kafka and MongoDB here and leave them running
	@$(BIN)/python -m deploy.local up

down: ## Stop what `make up` started
	@$(BIN)/python -m deploy.local down

schemas: $(STAMP) ## Write the published JSON Schemas and golden payloads of new event types
	@$(BIN)/python -m schemas.publish
