# `make train` and `make test` also set up the environment. `make help` lists all targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
PROCESSES ?= 2

# One thread per process is fastest for small flows, and tests and notebooks start several processes.
export OMP_NUM_THREADS ?= 1
export WANDB_SILENT := true

.PHONY: help train test test-notebooks test-commands test-install trust test-ranks conformance faults mutants reproduce bench audit test-engines slurm notebooks docs lint lab clean
help:            ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/:/'

# An environment is a folder: the pins are its prerequisites constraints*.txt, and PACKAGES is what pip installs into it.
# Where there are pins, torch is installed first, so no dependency installs a different build.
PIP = PIP_CONSTRAINT=$(@D)/constraints.txt $(@D)/bin/pip install --quiet --disable-pip-version-check
%/installed:
	$(PYTHON) -m venv $(@D)
	cat /dev/null $(filter constraints%,$^) > $(@D)/constraints.txt
	$(if $(filter constraints%,$^),$(PIP) torch)
	$(PIP) $(PACKAGES)
	$(if $(WITHOUT_DEPENDENCIES),$(PIP) --no-deps $(WITHOUT_DEPENDENCIES))
	touch $@

$(VENV)/installed: PACKAGES = --editable '.[dev]'
$(VENV)/installed: pyproject.toml constraints.txt

.venv: $(VENV)/installed  ## only build the environment

train: $(VENV)/installed  ## train the banana of Jang's tutorial
	$(BIN)/python experiments/train.py experiment=banana

test: $(VENV)/installed  ## the tests, without those of the targets below
	$(BIN)/pytest -n $(PROCESSES) --dist worksteal --durations=25 $(addprefix --ignore=,$(COMMANDS) $(TRUST) $(RANKS))

test-notebooks: $(VENV)/installed  ## compare every notebook with its committed output
	$(BIN)/pytest -n $(PROCESSES) --dist loadfile --nbval --nbval-current-env $(NOTEBOOKS)

# Slow tests that `make test` leaves out; plain `pytest` runs them as well.
COMMANDS := tests/cli/test_main.py tests/docs/test_pages.py tests/extending tests/experiments/test_reproduce.py tests/test_readme.py
test-commands: $(VENV)/installed  ## tests of whole commands: training, sweeps, a package that extends flowlab, the README, the site
	$(BIN)/pytest -n $(PROCESSES) --dist worksteal $(COMMANDS)

test-install: $(VENV)/installed  ## the commands of the README in a fresh clone, with an empty environment
	FLOWLAB_INSTALL=1 $(BIN)/pytest tests/test_readme.py -k fresh_clone -s

TRUST := tests/test_bad_input.py tests/test_security.py tests/test_leaks.py tests/test_determinism.py tests/flows/test_presets.py
trust: $(VENV)/installed  ## tests of bad input, attacks, leaked secrets, determinism, and what presets learn
	$(BIN)/pytest -n $(PROCESSES) --dist worksteal $(TRUST)

RANKS := $(addprefix tests/distributed/test_,launch.py failures.py cluster.py) $(addprefix tests/loggers/test_,wandb_server.py training.py)
test-ranks: $(VENV)/installed  ## tests of runs on several processes, and of a Weights & Biases server
	$(BIN)/pytest -n $(PROCESSES) --dist worksteal $(RANKS)

conformance: $(VENV)/installed  ## every property of every bijector, and tails of the maps against 50-digit arithmetic
	$(BIN)/pytest -n $(PROCESSES) --dist worksteal tests/conformance

# The tests fill small disks in a separate mount namespace; the disks vanish with it, however the tests end.
faults: $(VENV)/installed  ## tests with kills, full disks, damaged files and wrong clocks; needs Linux
	unshare --map-root-user --mount $(BIN)/pytest tests/faults -n $(PROCESSES) --dist worksteal -q

# A separate environment: cosmic-ray depends on a database and a web client that nothing else here needs.
MUTANTS := .venv-mutants
$(MUTANTS)/installed: PACKAGES = 'cosmic-ray==8.7.0' 'parso==0.8.7'
$(MUTANTS)/installed: Makefile

# RECORD=1 writes the result to tests/mutants/RESULTS.md, which is committed.
mutants: $(VENV)/installed $(MUTANTS)/installed  ## change one place at a time, and count what the tests catch
	PYTHONPATH=tests $(BIN)/python -m mutants.run --operators $(MUTANTS)/bin/python --processes $(PROCESSES) \
		$(if $(RECORD),--record)

reproduce: $(VENV)/installed  ## every notebook from scratch, every claim of Jang's tutorial and Keydana's post, report/index.html
	$(BIN)/python experiments/reproduce.py

# A separate environment: Ray and Optuna's old sweeper have many dependencies that nothing else here needs. Ray's launcher
# is installed without its dependencies: AWS and a cloudpickle that is too old for scikit-learn. It works without them.
ENGINES := .venv-engines
$(ENGINES)/installed: PACKAGES = --editable '.[dev,optuna,ray,slurm]'
$(ENGINES)/installed: WITHOUT_DEPENDENCIES = hydra-ray-launcher
$(ENGINES)/installed: pyproject.toml constraints.txt constraints-engines.txt

# A separate environment: only the benchmarks use JAX and TensorFlow Probability, for comparison.
BENCH := .venv-bench
$(BENCH)/installed: PACKAGES = --editable '.[bench]'
$(BENCH)/installed: pyproject.toml constraints.txt constraints-bench.txt

bench: $(BENCH)/installed  ## run every benchmark and write BENCHMARKS.md; needs an idle machine
	$(BENCH)/bin/python experiments/bench.py

# A separate environment, so the audit tool is not part of the audit.
AUDIT := .venv-audit
$(AUDIT)/installed: PACKAGES = 'pip-audit>=2.10,<3'
$(AUDIT)/installed: Makefile

# With --strict, an index that knows no packages is an error; otherwise it would look like no vulnerabilities.
audit: $(AUDIT)/installed  ## known vulnerabilities of the versions in constraints.txt; needs a network
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

# A separate environment: only the site uses Sphinx.
DOCS := .venv-docs
$(DOCS)/installed: PACKAGES = --editable '.[docs]'
$(DOCS)/installed: pyproject.toml constraints.txt constraints-docs.txt

# Without --nitpicky: names of torch and numpy have no page where there is no network.
docs: $(DOCS)/installed  ## build the documentation into docs/_build/html and check its links
	$(DOCS)/bin/sphinx-build --quiet --fail-on-warning --keep-going -b html docs docs/_build/html
	$(DOCS)/bin/python docs/extensions/links.py docs/_build/html

notebooks: $(VENV)/installed  ## execute every notebook again, in place
	$(BIN)/ruff format --quiet notebooks
	$(BIN)/jupyter execute --inplace $(NOTEBOOKS)

lint: $(VENV)/installed  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lab: $(VENV)/installed  ## open the notebooks
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) notebooks

clean:           ## remove the environments and all caches; runs/ stays
	rm -rf $(VENV) $(ENGINES) $(BENCH) $(AUDIT) $(MUTANTS) $(DOCS) docs/_build .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
