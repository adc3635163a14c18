# Everything that the project can be told to do. Each target first makes .venv, if need be; all that it takes is
# Python 3.11 or later with pip, and make.

.PHONY: help demo test check chaos bench format install clean lint types
.DEFAULT_GOAL := help

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(firstword $(foreach name,python3.13 python3.12 python3.11 python3,\
	$(shell $(name) -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && echo $(name))))

PY := .venv/bin/python
# Half of what the tests take is waiting. A file stays with one worker: what it starts is started once. More workers
# than two would have tests that wait for each other's time on small machines; make test WORKERS=8 on larger ones.
WORKERS ?= 2
PYTEST := $(PY) -m pytest -n $(WORKERS) --dist loadfile
FOLDERS := protocol runtime actors
PROGRAMS := $(wildcard tests benchmarks examples)

# Where bytecode is not kept, each of the 200 programs that tests start compiles all of ours anew.
unexport PYTHONDONTWRITEBYTECODE

# A strict editable install is a snapshot: a file added later is not seen. So one stamp is named after what the
# dependencies follow from, the other after the list of files. `pwd`: a folder that was moved has stale paths.
DEPENDENCIES := .venv/dependencies-$(shell (pwd; cat pyproject.toml) | cksum | tr -d ' ')
FILES := .venv/files-$(shell (pwd; cat pyproject.toml; find *.py $(FOLDERS) -name '*.py' | LC_ALL=C sort) | cksum | tr -d ' ')
# PYTHONWARNINGS: setuptools warns that strict editable installs live in build/, which is what we want.
PIP := PYTHONWARNINGS=ignore $(PY) -m pip install --quiet --disable-pip-version-check
EDITABLE := --no-build-isolation --config-settings editable_mode=strict --editable

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile

demo: $(FILES) ## a trip planned in one turn, over two worker processes, as a waterfall
	@$(PY) -m toolwire demo

test: lint types ## all that must hold before a commit lands
	$(PYTEST)

check: lint types ## the same without the tests that take seconds each
	$(PYTEST) -m 'not slow'

chaos: $(FILES) ## random graphs, durations and failures: 10,000 of each kind; EXAMPLES=100000 for more
	TOOLWIRE_EXAMPLES=$(or $(EXAMPLES),10000) $(PYTEST) --dist load -m chaos

lint: $(FILES)
	$(PY) -m ruff check
	$(PY) -m ruff format --check

types: $(FILES)
	$(PY) -m mypy --package toolwire
	$(if $(PROGRAMS),$(PY) -m mypy $(PROGRAMS))
	$(PY) -m pyright

bench: $(FILES) ## how fast it is, beside the floors; OPTIONS=--json for programs
	@$(PY) -m benchmarks $(OPTIONS)

format: $(FILES) ## mend what can be mended by itself
	$(PY) -m ruff check --fix
	$(PY) -m ruff format

install: $(FILES) ## only make .venv, with everything in it

clean: ## remove all that was made
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEPENDENCIES):
	@$(PY) -c '$(NEW_ENOUGH)' 2>/dev/null || { \
		python='$(PYTHON)'; "$${python:-python3}" -c '$(NEW_ENOUGH)' 2>/dev/null || { \
		echo 'Toolwire needs Python 3.11 or later. Say where one is: make PYTHON=/path/to/python3.11' >&2; exit 1; }; \
		echo "making .venv with $$python" && "$$python" -m venv --clear .venv; }
	@echo 'installing into .venv'
	@$(PIP) --upgrade pip setuptools
	@$(PIP) --group dev $(EDITABLE) '.[all]'
	@rm -f .venv/dependencies-* && touch $@

$(FILES): $(DEPENDENCIES)
	@$(PIP) --no-deps $(EDITABLE) .
	@rm -f .venv/files-* && touch $@
