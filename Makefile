# One word for each thing a person does here; `make` alone lists them.

AIRFLOW ?= 3.3#   the Airflow to work with: 3.3 (newest) or 3.1 (oldest supported); see requirements/
VENV    ?= $(if $(filter 3.3,$(AIRFLOW)),.venv,.venvs/airflow-$(AIRFLOW))#   where `make setup` installs
PYTHON  ?=#   the Python to install with; by default python3, or the newest python3.N of the machine that will do
ARGS    ?=#   passed on: make test ARGS='-k report', make demo ARGS='--objects 20000'

PINS      := requirements/airflow-$(AIRFLOW).txt
INSTALLED := $(VENV)/.installed
BIN       := $(VENV)/bin
BY_TWO    := $(BIN)/python -m pytest -n 2 --no-loadscope-reorder

# Where this is set, as images for containers do, each process compiles all of Airflow anew: half of a test run.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo ui test faults soak bench lint format types imports check pins clean
.SUFFIXES:

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-15s %s\n", $$1, $$2 }'
	@printf '\nVariables:\n'
	@sed -n 's/^\([A-Z]*\) *?=.*#   \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-15s %s\n", $$1, $$2 }'

setup: $(INSTALLED) ## install the package, Airflow and all tools (the other words do it by themselves)

demo: $(INSTALLED) ## run a job on a real Airflow and an embedded S3, and check its report
	@$(BIN)/python -m demo run $(ARGS)

ui: $(INSTALLED) ## the same Airflow and S3, left running with the example DAGs (Ctrl-C ends it)
	@$(BIN)/python -m demo ui $(ARGS)

# By two processes each: what needs no Airflow that runs, then what does, which each has for itself. What measures runs
# alone. With ARGS, all that they select by one.
test: $(INSTALLED) ## run all tests, unit to end to end (but for `make faults`)
ifeq ($(strip $(ARGS)),)
	$(BY_TWO) --dist loadfile --ignore=tests/e2e --ignore=tests/performance
	$(BY_TWO) --dist loadfile tests/e2e
	$(BIN)/python -m pytest tests/performance
else
	$(BIN)/python -m pytest $(ARGS)
endif

faults: $(INSTALLED) ## kill processes of a real Airflow and of partitions by the hundred, and audit the jobs (some minutes)
	$(BY_TWO) --dist loadfile tests/faults -m faults $(ARGS)

soak: $(INSTALLED) ## the same with twice as many kills and a new seed, and write docs/reliability.md
	$(BY_TWO) --dist loadfile tests/faults -m faults --times=2 --seed=0 --page $(ARGS)

bench: $(INSTALLED) ## measure everything that docs/performance.md quotes, and write that page (a quarter of an hour)
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(INSTALLED) ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED) ## mend what can be mended of style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(INSTALLED) ## check types
	$(BIN)/mypy

imports: $(INSTALLED) ## check the direction of imports
	$(BIN)/lint-imports

check: lint types imports ## lint, types and imports

pins: $(INSTALLED) ## look for newer releases of everything, and write requirements/ anew
	requirements/compile.sh $(BIN)/uv

clean: ## remove what these commands made
	rm -rf .venv .venvs .demo build dist .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed again only when what is to be installed has changed.
$(INSTALLED): pyproject.toml $(PINS) requirements/install.sh
	@requirements/install.sh '$(VENV)' '$(PINS)' '$(PYTHON)'
	@touch $@
