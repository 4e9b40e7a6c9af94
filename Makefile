# Two commands do all the set-up: `make train` and `make test`. `make help` lists the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
PROCESSES ?= 2

# One thread for each process: flows this small are fastest so, and tests and notebooks start processes of their own.
export OMP_NUM_THREADS ?= 1
export WANDB_SILENT := true

.PHONY: help train test trust test-ranks conformance faults mutants reproduce bench audit test-engines slurm notebooks lint lab clean
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
	$(BIN)/pytest -n $(PROCESSES) --dist worksteal $(addprefix --ignore=,$(TRUST) $(RANKS))
	$(BIN)/pytest -n $(PROCESSES) --dist loadfile --nbval --nbval-current-env $(NOTEBOOKS)

# Minutes of their own: what `make test` leaves out, and `pytest` alone does not.
TRUST := tests/test_bad_input.py tests/test_security.py tests/test_leaks.py tests/test_determinism.py
trust: $(VENV)/installed  ## bad input of every kind, attacks, and the same command twice
	$(BIN)/pytest -n $(PROCESSES) --dist worksteal $(TRUST)

RANKS := $(addprefix tests/distributed/test_,launch.py cluster.py) $(addprefix tests/loggers/test_,wandb_server.py training.py)
test-ranks: $(VENV)/installed  ## runs on several processes, and a Weights & Biases server
	$(BIN)/pytest -n $(PROCESSES) --dist worksteal $(RANKS)

conformance: $(VENV)/installed  ## every bijector by every property, and the tails of the maps against 50 digits
	$(BIN)/pytest -n $(PROCESSES) --dist worksteal tests/conformance

# In a mount namespace of its own, for disks that can be full: nothing of them is left, however it ends.
faults: $(VENV)/installed  ## kills, full disks, damaged files, wrong clocks: what a run survives; Linux
	unshare --map-root-user --mount $(BIN)/pytest tests/faults -n $(PROCESSES) --dist worksteal -q

# In an environment of its own: cosmic-ray brings a database and a web client that nothing else here needs.
MUTANTS := .venv-mutants
$(MUTANTS)/installed: Makefile
	$(PYTHON) -m venv $(MUTANTS)
	$(MUTANTS)/bin/pip install --quiet --disable-pip-version-check 'cosmic-ray==8.7.0' 'parso==0.8.7'
	touch $@

# RECORD=1 writes the result into tests/mutants/RESULTS.md, to be committed.
mutants: $(VENV)/installed $(MUTANTS)/installed  ## changes one place at a time and counts how many the tests catch
	PYTHONPATH=tests $(BIN)/python -m mutants.run --operators $(MUTANTS)/bin/python --processes $(PROCESSES) \
		$(if $(RECORD),--record)

reproduce: $(VENV)/installed  ## every notebook from scratch, every claim of Jang's tutorial and Keydana's post, report/index.html
	$(BIN)/python experiments/reproduce.py

# An environment of their own: Ray and Optuna's old sweeper bring much that nothing else here needs. Ray's launcher comes
# without its dependencies: it asks for an older cloudpickle than scikit-learn does, and for AWS; it works without either.
ENGINES := .venv-engines
$(ENGINES)/installed: pyproject.toml constraints.txt constraints-engines.txt
	$(PYTHON) -m venv $(ENGINES)
	cat constraints.txt constraints-engines.txt > $(ENGINES)/constraints.txt
	PIP_CONSTRAINT=$(ENGINES)/constraints.txt $(ENGINES)/bin/pip install --quiet --disable-pip-version-check torch
	PIP_CONSTRAINT=$(ENGINES)/constraints.txt $(ENGINES)/bin/pip install --quiet --disable-pip-version-check \
		--editable '.[dev,optuna,ray,slurm]'
	PIP_CONSTRAINT=$(ENGINES)/constraints.txt $(ENGINES)/bin/pip install --quiet --disable-pip-version-check \
		--no-deps hydra-ray-launcher
	touch $@

# Of its own as well: JAX and TensorFlow Probability are here to be measured against, and nothing else uses them.
BENCH := .venv-bench
$(BENCH)/installed: pyproject.toml constraints.txt constraints-bench.txt
	$(PYTHON) -m venv $(BENCH)
	cat constraints.txt constraints-bench.txt > $(BENCH)/constraints.txt
	PIP_CONSTRAINT=$(BENCH)/constraints.txt $(BENCH)/bin/pip install --quiet --disable-pip-version-check torch
	PIP_CONSTRAINT=$(BENCH)/constraints.txt $(BENCH)/bin/pip install --quiet --disable-pip-version-check \
		--editable '.[bench]'
	touch $@

bench: $(BENCH)/installed  ## every benchmark, one after another: BENCHMARKS.md; on a machine with nothing else to do
	$(BENCH)/bin/python experiments/bench.py

# Of its own too: what audits is no part of what is audited.
AUDIT := .venv-audit
$(AUDIT)/installed: Makefile
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/pip install --quiet --disable-pip-version-check 'pip-audit>=2.10,<3'
	touch $@

# Strict, since an index that knows no packages would otherwise pass for one that knows no vulnerabilities of them.
audit: $(AUDIT)/installed  ## known vulnerabilities of what constraints.txt pins; needs a network
	@$(AUDIT)/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict --progress-spinner off \
		2> $(AUDIT)/said || { tail -n 1 $(AUDIT)/said >&2; \
		grep -q '^Found' $(AUDIT)/said || \
		echo "make audit: nothing was audited: the database of vulnerabilities on PyPI cannot be reached from here" >&2; \
		exit 1; }

slurm:
	@if ! command -v slurmctld > /dev/null || ! command -v munged > /dev/null; then \
		if [ "$$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then \
			echo "make test-engines: needs Slurm: install Debian's slurm-wlm and munge, and run it as root" >&2; exit 1; fi; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -qq -y --no-install-recommends slurm-wlm munge > /dev/null; fi

test-engines: slurm $(ENGINES)/installed  ## sweeps on a real Slurm and Ray, and searches by Optuna; as root
	$(ENGINES)/bin/pytest -n $(PROCESSES) --dist loadfile tests/engines

notebooks: $(VENV)/installed  ## execute every notebook again, in place
	$(BIN)/ruff format --quiet notebooks
	$(BIN)/jupyter execute --inplace $(NOTEBOOKS)

lint: $(VENV)/installed  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lab: $(VENV)/installed  ## open the notebooks
	$(BIN)/jupyter lab notebooks

clean:           ## remove the environments and all caches; runs/ stays
	rm -rf $(VENV) $(ENGINES) $(BENCH) $(AUDIT) $(MUTANTS) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
