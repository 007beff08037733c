PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup run dev serve test test-next test-all fuzz lint format pins

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-9s %s\n", $$1, $$2}'

setup: $(VENV)/.runtime .env ## Make the environment, and once the secrets in .env

run: setup .env.local ## Try it: migrated, with a demo, on http://localhost:8080
	@DEBUG=0 exec $(BIN)/python manage.py quickstart

dev: setup .env.local ## Develop: DEBUG, and a restart when code changes
	$(BIN)/python manage.py migrate --verbosity 0
	@DEBUG=1 exec $(BIN)/python manage.py runserver --reload

serve: export LOCAL_ENV := 0
serve: export DEBUG := 0
serve: $(VENV)/.runtime ## Serve in production: settings from the environment and .env, no demo; WORKERS=4 serves from four processes
	$(BIN)/python manage.py check --deploy --fail-level WARNING
	$(BIN)/python manage.py migrate --verbosity 0
	@exec $(BIN)/python manage.py runserver

test: $(VENV)/.dev ## Run the tests, but for the slow ones
	$(BIN)/python -m pytest -m "not slow"

test-next: $(VENV)/.dev ## Run the tests on the newest Django, where a Python for it is installed
	.ci/test-next -m "not slow"

test-all: $(VENV)/.dev ## Run all tests, slow ones too (clients of others, storms), and those on the newest Django
	$(BIN)/python -m pytest
	.ci/test-next -m "not slow"

fuzz: $(VENV)/.dev ## Let schemathesis walk through all corners of the API, which takes minutes
	bench/fuzz.sh

lint: $(VENV)/.dev ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## Put the code into form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

pins: $(VENV)/.dev ## Write requirements*.txt anew from requirements*.in
	$(BIN)/uv pip compile --upgrade --generate-hashes --universal --python-version 3.11 --quiet requirements.in -o requirements.txt
	$(BIN)/uv pip compile --upgrade --generate-hashes --universal --python-version 3.11 --quiet requirements-dev.in -o requirements-dev.txt

$(VENV)/.runtime: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("AI Studio needs Python 3.11 or newer; make PYTHON=python3.12 names another." if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.txt
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-dev.txt
	@touch $@

.env:
	@$(BIN)/python -m aistudio.generate_env

.env.local:
	@printf '# For make run and make dev on this machine; make serve ignores it. See docs/settings.md.\nHTTPS=0\nPRIVATE_NETWORKS=1\n' > $@
