# make run and make test set everything up by themselves; a second time neither installs anything.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv pip
export PATH := $(CURDIR)/$(BIN):$(PATH)
# uv leaves compiling to the first import; if this were set, every process would compile all that it imports again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help run cluster inspect advise recipe check-recipe sweep experiments reproduce page review test test-full test-gpu mutations lint format licenses schema docs lock clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

run: .venv/installed  ## set up, forecast what the pipeline takes, run it, show the results and where they are
	@python -m darkroom check
	@python -m darkroom forecast
	dvc repro
	@python -m darkroom summary

cluster: .venv/installed-cluster  ## bring Ray, for compute.engine ray

inspect: .venv/installed  ## look at a folder of pictures, and recommend settings for it: FOLDER=… WRITE=1
	@python -m darkroom inspect $(if $(FOLDER),"$(FOLDER)") $(if $(WRITE),--write)

advise: .venv/installed  ## recommend a training for these pictures, and explain why
	@python -m darkroom check
	@dvc repro -q extract
	@python -m darkroom advise

recipe: .venv/installed  ## run a known-good experiment: NAME=… SET="key=value …" EXP=…; without NAME, list them
	@python -m darkroom recipe $(NAME) $(SET) $(if $(EXP),--exp $(EXP))
	@$(if $(NAME),python -m darkroom summary)

check-recipe: .venv/installed  ## run a recipe again, and compare its accuracy with the recorded one: NAME=… SET="key=value …"
	@python -m darkroom recipe $(NAME) $(SET) --exp $(NAME)-$$(date +%Y%m%d-%H%M%S)
	@python -m darkroom results $(NAME)

sweep: .venv/installed  ## search for a better head on the features: NAME=… ARGS="--trials 50 --heads dense,rbf_svm"
	@python -m darkroom check
	@dvc repro -q extract
	@python -m darkroom sweep $(NAME) $(ARGS)

# The metrics by which people compare, the params that differ, and no hashes of files.
COLUMNS := Experiment|Created|State|accuracy(_low|_high|_val)?|log_loss|macro_f1|ece
experiments: .venv/installed  ## a table of DVC's experiments, and what differs between them
	@dvc exp show --only-changed --precision 4 --drop '.*/|^(?!($(COLUMNS))$$)[^.]*$$'

reproduce: .venv/installed  ## run a commit again in a new clone, and compare every output: REV=… ARGS="--against FILE"
	@python -m darkroom reproduce $(REV) $(ARGS)

page: .venv/installed  ## try the exported model in a browser
	@python -m darkroom page

review: .venv/installed  ## review labels in a browser
	@python -m darkroom review

# Two test processes share two cores: with more threads OpenBLAS would spend a third of the time waiting.
# With these thresholds glibc keeps the memory that TensorFlow frees, which halves the page faults.
test test-full: export OPENBLAS_NUM_THREADS = 1
test test-full: export MALLOC_TOP_PAD_ = 67108864
test test-full: export MALLOC_TRIM_THRESHOLD_ = 4294967296
test test-full: export MALLOC_MMAP_THRESHOLD_ = 33554432
test: MARK = not full and not gpu
test: .venv/installed-dev lint  ## linter, types, and the tests that need no service and little time
	python -m pytest -n 2 --dist worksteal -m "$(MARK)"

test-full: .venv/installed-dev  ## the tests that need services or much time
	python -m pytest -n 2 --dist worksteal -m full

test-gpu: .venv/installed-dev  ## a smoke test on an NVIDIA GPU (not yet run on one)
	$(UV) install -q --python $(BIN)/python "$$(grep -o '^tensorflow==[^ ]*' requirements.txt | sed 's/==/[and-cuda]==/')"
	python -m pytest -m gpu

mutations: .venv/installed-dev  ## put small faults into the code, one at a time: each must fail a test
	python -m tests.mutations

lint: .venv/installed-dev  ## ruff and mypy
	ruff check .
	ruff format --check .
	mypy

format: .venv/installed-dev  ## format the code with ruff
	ruff check --fix .
	ruff format .

licenses: .venv/installed-dev  ## the licences of all packages; those of weights and data are in docs/licences.md
	@pip-licenses --with-system --with-urls --order license

schema: .venv/installed  ## write the schema of params.yaml for editors, after a change of its keys or comments
	python -m darkroom schema > docs/params.schema.json.new && mv docs/params.schema.json.new docs/params.schema.json

docs: .venv/installed-dev  ## the site of the documents, in site/index.html
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict -q
	@echo "site/index.html"

lock: $(BIN)/uv  ## compile requirements*.txt into lock files with hashes, for Python 3.11 to 3.13
	for name in requirements requirements-cluster requirements-dev; do $(UV) compile -q --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command "make lock" -o $$name.lock $$name.txt; done

clean:  ## remove the cache of features, downloads and trainings (DVC's cache and MLflow's store stay)
	rm -rf .cache

$(BIN)/uv: | $(BIN)/python
	@$(BIN)/python -m pip --disable-pip-version-check install -q "$$(grep -o '^uv==[^ ]*' requirements.txt)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Darkroom needs Python 3.11, 3.12 or 3.13: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "Python's venv module is missing. On Debian: apt install python3-venv"; exit 1; }

# The packages of a cluster are those of a run and more, and those for development are both and more, so that a later
# file stands for the earlier ones.
.venv/installed: requirements.lock | $(BIN)/uv
	@echo "Installing into .venv (about 3 GB)"
	@rm -f .venv/installed-cluster .venv/installed-dev
	@$(UV) sync -q --python $(BIN)/python --require-hashes requirements.lock
	@touch $@

.venv/installed-cluster: requirements-cluster.lock | $(BIN)/uv
	@echo "Installing into .venv (about 3 GB)"
	@rm -f .venv/installed-dev
	@$(UV) sync -q --python $(BIN)/python --require-hashes requirements-cluster.lock
	@touch .venv/installed $@

.venv/installed-dev: requirements-dev.lock | $(BIN)/uv
	@echo "Installing into .venv (about 3 GB)"
	@$(UV) sync -q --python $(BIN)/python --require-hashes requirements-dev.lock
	@touch .venv/installed .venv/installed-cluster $@
