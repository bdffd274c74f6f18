.DEFAULT_GOAL := help
.PHONY: help demo test test-containers check facts fmt bench chaos chaos-full mutants up down venv schemas

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

venv: $(STAMP) ## Build the virtual environment from requirements.lock

demo: $(STAMP) ## Replay a generated day of calls through all four services (ARGS=--once ends by itself)
	@$(BIN)/ringback demo $(ARGS)

check: $(STAMP) ## Run the linter, the type checker and the unit tests; changes no file
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/pytest tests/unit -q

test: $(STAMP) ## Run every test, on real Kafka and MongoDB (ARGS="-k ..." runs some)
	@$(BIN)/pytest $(ARGS)

test-containers: $(STAMP) ## Run the integration tests on containers (testcontainers)
	@$(BIN)/pytest tests/integration --provider containers $(ARGS)

facts: $(STAMP) ## Print each finished fact of docs/facts.md with its tests and their results (ARGS=--all runs every level)
	@$(BIN)/python -m tests.facts $(ARGS)

fmt: $(STAMP) ## Format the code and apply the linter's fixes
	@$(BIN)/ruff check --fix -q . || true
	@$(BIN)/ruff format .

bench: $(STAMP) ## Measure end-to-end latency and the sequencer's rate; prints tables, writes bench.json
	@$(BIN)/ringback bench $(ARGS)

chaos: $(STAMP) ## Run the whole system under seeded faults, then check every promise (ARGS="--seed 7 --minutes 3")
	@$(BIN)/python -m tests.chaos.system $(ARGS)

chaos-full: $(STAMP) ## Run ten seeds, outages, the fence and the mutants; write docs/reliability.md (ARGS="--only seeds --resume")
	@$(BIN)/python -m tests.chaos.full $(ARGS)

mutants: $(STAMP) ## Take each protection away in a copy, and expect a test to turn red (ARGS="--level all" needs Kafka and MongoDB)
	@$(BIN)/python -m tests.mutations $(ARGS)

up: $(STAMP) ## Start Kafka and MongoDB on this machine and leave them running
	@$(BIN)/python -m deploy.local up

down: ## Stop what make up started
	@$(BIN)/python -m deploy.local down

schemas: $(STAMP) ## Write the JSON Schemas and sample payloads of new event types, and compatible additions
	@$(BIN)/python -m schemas.publish
