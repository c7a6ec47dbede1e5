# `make demo` does the main job, `make test` checks the package; both set up a virtual environment.
PYTHON ?= python3
SEED ?= 0
OUT ?= runs/demo
DEMO_OPTIONS ?=
BIN := .venv/bin
# Python compiles what is imported; to compile the rest takes half of the installing.
INSTALL := $(BIN)/pip install --quiet --no-compile

.PHONY: demo test test-all check docs install
demo: .venv/installed
	$(BIN)/noiseproof demo --seed $(SEED) --out $(OUT) $(DEMO_OPTIONS)

# Shapes and types of every call are checked by `test-all` alone: they take a sixth of the time.
test: .venv/installed-dev
	JAXTYPING_DISABLE=1 $(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: .venv/installed-dev
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

# The tutorials are run as the site is built; unoptimized programs compile in a third of the time.
docs: .venv/installed-docs
	XLA_FLAGS="--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false" \
	$(BIN)/sphinx-build --fail-on-warning --keep-going -b html docs build/docs

install: .venv/installed

.venv/bin/pip:
	$(PYTHON) -m venv .venv

# Pip stands behind the bar, since an upgrade of it must not install everything again.
.venv/installed: pyproject.toml | .venv/bin/pip
	$(INSTALL) --editable '.[all]'
	touch $@

.venv/installed-docs: .venv/installed
	$(INSTALL) "pip>=25.1"
	$(INSTALL) --group docs
	touch $@

.venv/installed-dev: .venv/installed
	$(INSTALL) "pip>=25.1"
	$(INSTALL) --group dev
	touch $@
