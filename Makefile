# Everything starts here: `make run` and `make test` need only Python 3.11 or newer and make.
# The steps of the set-up are in setup_environment.py; nothing is written outside .venv and the data directory.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
PYTEST := $(VENV)/bin/python -m pytest
PROCESSES ?= $(if $(PAIRLOOP_TEST_DATABASE_URL),0,2)

.PHONY: help run test test-all mutations lint messages bench demo screenshots constraints environment tools
.DEFAULT_GOAL := help

help: ## Say what can be made
	@grep -E '^[a-z-]+:.* ## ' Makefile | sed -E 's/^([a-z-]+):.* ## /  make \1\t/' | expand -t 22

run: environment ## Set up, start everything and print the address: make run HOST=0.0.0.0 PORT=8000 DATA=directory
	@exec $(VENV)/bin/pairloop up $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(if $(DATA),--data "$(DATA)")

test: tools ## Set up, a browser included, and run the tests
	$(PYTEST) -n $(PROCESSES) --dist loadfile # a file's tests stay together: what they share is made once

test-all: test ## The tests, then the slow ones as well, one after the other
	$(PYTEST) -m slow

mutations: tools ## Break each formula of the trainer in a copy of the tree and see its test fail
	$(VENV)/bin/python tests/mutations.py $(PART)

lint: tools ## Style, types, imports between rooms, unused dependencies, templates
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python -m deptry .
	$(VENV)/bin/djlint templates --lint --quiet

messages: tools ## Take new strings into the catalogues in translations/ and list what is to translate; NEW=de begins one
	$(VENV)/bin/python translations/update.py $(NEW)

bench: tools ## Measure every claim beside its peer and print one table
	$(VENV)/bin/python -m bench

demo: environment ## The whole loop with simulated annotators on a project of its own, and a page with its figures
	@exec $(VENV)/bin/python -m demo $(if $(DATA),--data "$(DATA)")

screenshots: tools ## README's pictures, taken from the project that `make demo` leaves
	@exec $(VENV)/bin/python -m demo.screenshots $(if $(DATA),--data "$(DATA)")

constraints: ## Choose new versions of the dependencies (needs uv) and write constraints.txt
	grep -E '^torch==' constraints.txt > constraints.torch
	uv pip compile --universal --all-extras --upgrade --no-header --no-annotate -c constraints.torch \
		pyproject.toml -o constraints.txt
	rm constraints.torch

environment: python
	@$(PYTHON) setup_environment.py run

tools: python
	@$(PYTHON) setup_environment.py test

.PHONY: python
python:
	@$(if $(PYTHON),:,echo "Pairloop needs Python 3.11 to 3.14 and found none. Install one, or name it: make run PYTHON=/path/to/python3" >&2; exit 1)
