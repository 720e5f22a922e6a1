# Every target makes what it needs, once. SQLALCHEMY=2.0 picks the older line, in an environment of its own.
PYTHON ?= python3
SQLALCHEMY ?=
VENV := .venv$(if $(SQLALCHEMY),-$(SQLALCHEMY))
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo serve test drills drills-report check format mutants bench bench-report docs dist clean

help:  ## show this list
	@echo "dbkit: one pool for sessions, queries and migrations"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-15s %s\n", $$1, $$2}'
	@echo "  DBKIT_DRILLS=long runs all rounds of the drills, DBKIT_DRILLS_REQUIRE=pgbouncer,netns,patroni fails those that miss one"
	@echo "  ARGS=... adds arguments (make test ARGS='-k fork'), SQLALCHEMY=2.0 uses that line"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "dbkit needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	sed '/^$(if $(SQLALCHEMY),sqlalchemy==,#)/d' constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt --editable . --group dev $(if $(SQLALCHEMY),'sqlalchemy==$(SQLALCHEMY).*')
	@touch $@

demo: $(READY)  ## watch one pool serve sessions, queries and migrations
	$(BIN)/python -m examples.movies $(ARGS)

serve: $(READY)  ## the same shop as a FastAPI application, with the live page of its pool
	$(BIN)/python -m examples.movies.serve $(ARGS)

# More workers than processors: most tests wait, for a server, a program or their own seconds.
test: $(READY)  ## run the tests on a real PostgreSQL that comes with the install
	$(BIN)/python -m pytest -n 4 --dist worksteal $(ARGS)

drills: $(READY)  ## break servers and networks under the pools (LONG=1: all rounds, half an hour)
	$(if $(LONG),DBKIT_DRILLS=long )$(BIN)/python -m pytest -n 0 --timeout 1800 tests/drills $(ARGS)

drills-report: $(READY)  ## make docs/reliability.md and its picture from the drills' committed figures
	$(BIN)/python -m tests.drills.report $(ARGS)

check: $(READY)  ## formatting, lint, types and the floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

mutants: $(READY)  ## change the code line by line, and see that the tests notice (ARGS='pool --most 150')
	$(BIN)/python -m tests.mutants $(ARGS)

format: $(READY)  ## put formatting and imports in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## measure beside the other pools (QUICK=1: in a minute or two)
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(ARGS)

bench-report: $(READY)  ## make the README's figures, docs/benchmarks.md and the charts from the committed results
	$(BIN)/python -m benchmarks.publish $(ARGS)

docs: $(READY)  ## build the documentation into build/docs; a warning is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

dist: $(READY)  ## build the package into dist/, and check what the package index will show
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

clean:  ## remove environments and caches
	rm -rf .venv* build dist .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
