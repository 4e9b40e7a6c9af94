# Two commands do all the set-up: `make train` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

# One thread for each process: flows this small are fastest so, and tests and notebooks start processes of their own.
export OMP_NUM_THREADS ?= 1
export WANDB_SILENT := true

.PHONY: help train test notebooks lint lab clean
help:            ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/'

# torch first, at its pinned version, so that no dependency brings in another build of it.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check torch
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

.venv: $(VENV)/installed  ## build the environment alone

train: $(VENV)/installed  ## train the banana of Jang's tutorial
	$(BIN)/python experiments/train.py experiment=banana

test: $(VENV)/installed  ## every test, then every notebook against its committed output
	$(BIN)/pytest
	$(BIN)/pytest --nbval --nbval-current-env notebooks

notebooks: $(VENV)/installed  ## execute every notebook again, in place
	$(BIN)/ruff format --quiet notebooks
	$(BIN)/jupyter execute --inplace $(NOTEBOOKS)

lint: $(VENV)/installed  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lab: $(VENV)/installed  ## open the notebooks
	$(BIN)/jupyter lab notebooks

clean:           ## remove the environment and all caches; runs/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
