# `make help` lists what can be asked for. Everything runs in .venv, which is made from requirements.lock.
PYTHON ?= $(or $(shell command -v python3.11),python3)
UV := 0.13.9
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONUNBUFFERED := 1
# Two workers of pytest-xdist; the tests of a file stay together, since they share what its fixtures made.
SIDE_BY_SIDE := -n 2 --dist loadfile
READY := .venv/.ready

.PHONY: help repro flow ui test test-slow check format demo-gate device readme lock clean

help: ## Say what can be asked for
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

repro: $(READY) ## Rebuild everything from raw data to metrics and report; only what changed runs
	dvc repro

flow: $(READY) ## The same through Prefect, a task run a stage: on the server of `make ui`, or by itself
	python -m pipelines rebuild

ui: $(READY) ## Start the Prefect server on http://127.0.0.1:4200, its UI and the deployments; Ctrl-C ends it
	python -m pipelines ui

test: $(READY) ## Run the fast tests
	python -m pytest $(SIDE_BY_SIDE) -m "not slow"

test-slow: $(READY) ## Run the end-to-end tests
	python -m pytest $(SIDE_BY_SIDE) --no-loadscope-reorder --durations=20 -m slow

check: $(READY) ## Lint, format check and types
	ruff check
	ruff format --check
	mypy

format: $(READY) ## Format the code and mend what the linter can
	ruff check --fix
	ruff format

demo-gate: $(READY) ## Spoil a copy of the sample and watch a gate stop it
	python -m demos.gate

device: $(READY) ## Build the page that predicts in the browser: serving/device; needs npm
	python -m serving.device.build

readme: $(READY) ## Put the current metrics and tree into README.md
	python -m docs.readme

lock: $(READY) ## Resolve pyproject.toml anew into requirements.lock and those of deploy/
	uv pip compile --universal --python-version 3.11 --extra dev --generate-hashes --no-emit-index-url --no-header \
		--upgrade --output-file requirements.lock pyproject.toml
	for kind in cpu gpu; do uv pip compile --python-version 3.11 --python-platform x86_64-unknown-linux-gnu \
		--group serve-$$kind --constraint requirements.lock --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--output-file deploy/serve-$$kind.lock || exit; done

clean: ## Remove what the pipeline makes again (not the cache, studies, accepted splits, cross-validation) and the environment
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache
	rm -rf data/raw/sample data/ingest data/clean data/detect data/crop data/split data/shards data/evaluate data/report \
		data/settings data/store/detect data/store/train data/store/crossvalidate data/gates/*.pass models/bundle

$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "faceline needs Python 3.11; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv .venv
	python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	uv pip install --quiet --python .venv/bin/python --compile-bytecode --require-hashes --requirement requirements.lock
	uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	touch $@
