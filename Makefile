# Every task of the project, for people and for CI alike. `make` alone prints what there is.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 3000
PYTEST_ARGS ?=
MATRIX_ARGS ?=
BENCH_ARGS ?=
ANYWHERE_ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Compiled once, and not by each of the many processes that the tests are: that would be a tenth of their time.
export PYTHONDONTWRITEBYTECODE :=

##@ Try it
.PHONY: demo
demo: $(VENV)/.runtime ## Start the portal with its sandbox on http://localhost:3000
	PORT=$(PORT) exec $(BIN)/python -m app sandbox

##@ Work on it
.PHONY: setup
setup: $(VENV)/.dev ## Set up the virtual environment with everything for development

.PHONY: test
test: $(VENV)/.dev ## Run the tests that need nothing but Python, five at a time (PYTEST_ARGS="-n 0 -k name" for some)
	$(BIN)/python -m pytest -n 5 -m "not extended" $(PYTEST_ARGS)

.PHONY: test-all
test-all: $(VENV)/.dev ## Run every test, also in a browser, behind nginx and haproxy, and what takes long; then the crash matrix
	$(BIN)/python -m pytest -n 5 $(PYTEST_ARGS)
	$(BIN)/python -m tests.acceptance.matrix $(MATRIX_ARGS)

.PHONY: test-anywhere
test-anywhere: $(VENV)/.dev ## Run the tests as other users, in other orders and under load; hours (ANYWHERE_ARGS="seed" for some)
	$(BIN)/python -m tests.anywhere $(ANYWHERE_ARGS)

.PHONY: test-crash
test-crash: $(VENV)/.dev ## Kill the program at every point of its work, start it again, and see what is left
	$(BIN)/python -m tests.acceptance.matrix $(MATRIX_ARGS)

.PHONY: check
check: $(VENV)/.dev ## Format, lint, types, imports, weaknesses, templates, Dockerfile, catalogs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit -q -c pyproject.toml -r app
	$(BIN)/djlint --check --lint --quiet templates
	$(BIN)/python -m tests.check_dockerfile
	$(BIN)/python -m tests.check_catalogs

.PHONY: audit
audit: $(VENV)/.dev ## Ask the network whether a locked package has a known vulnerability
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements.lock

.PHONY: format
format: $(VENV)/.dev ## Put Python and templates into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .
	$(BIN)/djlint --reformat --quiet templates

.PHONY: coverage
coverage: $(VENV)/.dev ## Run every test and say which lines none of them reached
	$(BIN)/coverage run -m pytest $(PYTEST_ARGS)
	$(BIN)/coverage report --skip-covered --show-missing

.PHONY: contract
contract: $(VENV)/.dev ## Run the Dokploy cases against a real server (DOKPLOY_URL, DOKPLOY_API_TOKEN)
	TEST_WAIT_SECONDS=$${TEST_WAIT_SECONDS:-180} $(BIN)/python -m pytest tests/contract --real-dokploy $(PYTEST_ARGS)

.PHONY: bench
bench: $(VENV)/.dev ## Measure the portal under load and print a table (BENCH_ARGS="flight" for some)
	$(BIN)/python -m tests.benchmarks $(BENCH_ARGS)

.PHONY: catalogs
catalogs: $(VENV)/.dev ## Extract the sentences and bring every language's catalog up to date
	$(BIN)/python -m tests.check_catalogs --update

.PHONY: docs
docs: $(VENV)/.dev ## Write docs/reference, .env.example and the settings of docker-compose.yml out of the code
	$(BIN)/python -m tests.docs.reference

.PHONY: screenshots
screenshots: $(VENV)/.dev ## Photograph every page into screenshots/
	$(BIN)/python -m tests.browser.screenshots

.PHONY: lighthouse
lighthouse: $(VENV)/.dev ## Have Lighthouse judge the deploy page; below 100 in anything it fails
	$(BIN)/python -m tests.browser.lighthouse

.PHONY: lock
lock: $(VENV)/.dev ## Resolve requirements.lock and requirements-dev.lock anew
	$(BIN)/uv pip compile -q pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements.lock
	$(BIN)/uv pip compile -q pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header -o requirements-dev.lock

$(VENV)/.runtime: requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --require-hashes -r requirements.lock
	touch $@

$(VENV)/.dev: requirements-dev.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --require-hashes -r requirements-dev.lock
	touch $@ $(VENV)/.runtime

.PHONY: help
help:
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
