# make run and make test set everything up by themselves; a second time neither installs anything.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help run advise recipe sweep experiments page test test-full test-gpu lint format lock clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

run: .venv/installed  ## set up, run the pipeline, say what came out
	dvc repro
	@python -m darkroom summary

advise: .venv/installed  ## say which training to start with on these pictures, and why
	@dvc repro -q extract
	@python -m darkroom advise

recipe: .venv/installed  ## run a known-good experiment: NAME=… SET="key=value …" EXP=…; without NAME, list them
	@python -m darkroom recipe $(NAME) $(SET) $(if $(EXP),--exp $(EXP))
	@$(if $(NAME),python -m darkroom summary)

sweep: .venv/installed  ## search for a better head on the features: NAME=… ARGS="--trials 50 --heads dense,rbf_svm"
	@dvc repro -q extract
	@python -m darkroom sweep $(NAME) $(ARGS)

# Of the figures, those that people compare by; of the params those that differ; no hashes of files.
COLUMNS := Experiment|Created|State|accuracy(_low|_high|_val)?|log_loss|macro_f1|ece
experiments: .venv/installed  ## a table of DVC's experiments, and what differs between them
	@dvc exp show --only-changed --precision 4 --drop '.*/|^(?!($(COLUMNS))$$)[^.]*$$'

page: .venv/installed  ## try the exported model in a browser
	@python -m darkroom page

# Two processes share two cores: more threads of OpenBLAS would only wait for each other, a third of the time.
test test-full: export OPENBLAS_NUM_THREADS = 1
# Hundreds of processes would each compile the stages anew where this is set.
test test-full: export PYTHONDONTWRITEBYTECODE =
test: MARK = not full and not gpu
test: .venv/installed-dev lint  ## linter, types, and the tests that need no service and little time
	python -m pytest -n 2 --dist worksteal -m "$(MARK)"

test-full: .venv/installed-dev  ## the tests that need services or much time
	python -m pytest -n 2 --dist worksteal -m full

test-gpu: .venv/installed-dev  ## a smoke test on an NVIDIA GPU (not yet run on one)
	$(PIP) -c constraints.txt "tensorflow[and-cuda]"
	python -m pytest -m gpu

lint: .venv/installed-dev  ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

format: .venv/installed-dev  ## put the code into ruff's form
	ruff check --fix .
	ruff format .

lock: .venv/installed-dev  ## write what is installed now into constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable > constraints.txt

clean:  ## remove the cache of features, downloads and trainings (DVC's cache and MLflow's store stay)
	rm -rf .cache

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Darkroom needs Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "Python's venv module is missing. On Debian: apt install python3-venv"; exit 1; }

.venv/installed: requirements.txt constraints.txt | .venv/bin/python
	@echo "Installing into .venv (about 3 GB, some minutes)"
	@$(PIP) -r requirements.txt -c constraints.txt
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	@$(PIP) -r requirements-dev.txt -c constraints.txt
	@touch $@
