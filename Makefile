# `make help` lists the targets. Each sets up what it needs, once.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo up test test-fast test-nightly lint format quality bench bench-quick dictionary clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(READY)  ## Make .venv with everything pinned, and the Delta jars

$(READY): requirements.txt setup.py
	@$(PYTHON) deploy/check_machine.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	$(BIN)/python deploy/fetch_delta_jars.py
	@touch $@

demo: setup  ## Generate a log and run the whole job on it; tables in lakehouse/
	$(BIN)/repurchase generate --customers 20000 --days 730 --seed 1 --output lakehouse/generated
	$(BIN)/repurchase run --env demo --source generated --input lakehouse/generated/log

LAKE ?= lakehouse
up: setup  ## API, dashboard and MLflow on the tables in LAKE=lakehouse, until Ctrl-C
	@test -d $(LAKE)/models || { echo "no tables in $(LAKE): run \`make demo\` first" >&2; exit 2; }
	@mkdir -p $(LAKE)/mlflow
	@echo "API http://127.0.0.1:8000/docs  dashboard http://127.0.0.1:8501  MLflow http://127.0.0.1:5000"
	@PATH="$(abspath $(BIN)):$$PATH" LAKE="$(abspath $(LAKE))" \
		$(BIN)/honcho -d . -f deploy/Procfile start

# Two Spark sessions at a time, a file of tests in one of them. By path: else files with few tests,
# the slowest of all, would come last, and one session would have nothing to do.
TWO := -n 2 --dist loadfile --no-loadscope-reorder
test: setup lint  ## Lint, types, layers and all tests but the nightly ones
	$(BIN)/python -m pytest $(TWO)

test-fast: setup  ## The tests that take seconds at most
	$(BIN)/python -m pytest $(TWO) -m "not slow and not nightly"

test-nightly: setup  ## What takes long: every kind of model on every real log, a retraining
	$(BIN)/python -m pytest -m nightly

lint: setup  ## Ruff, mypy and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup  ## Let ruff format and mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

LOGS ?= ../shared/data
quality: setup  ## Score past days of the public logs in LOGS and write docs/quality.md
	$(BIN)/python -m benchmarks.quality --logs $(LOGS)

UP_TO ?= 20
bench: setup  ## Time the features beside other engines, up to UP_TO=20 million lines
	$(BIN)/python -m benchmarks.speed --up-to $(UP_TO)

bench-quick: setup  ## The same with 2 million lines
	$(BIN)/python -m benchmarks.speed --quick

dictionary: setup  ## Write docs/features.md from the catalogue
	$(BIN)/python -m features.dictionary > docs/features.md

clean:  ## Remove builds and caches; .venv and the tables in lakehouse stay
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
