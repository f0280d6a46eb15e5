# Everything runs in .venv, which the first command that needs it creates.
# PYTHON=/path/to/python chooses the interpreter; otherwise the first one below that is new enough.

PYTHON ?= python3
# A Python named by the caller is used or refused, never replaced by another.
CANDIDATES = $(if $(filter file,$(origin PYTHON)),$(PYTHON) python3.13 python3.12 python3.11,"$(PYTHON)")

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check deep bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.cli ## Record a year of bookings in crmkit-demo.db and write report.html
	$(BIN)/crmkit demo --storage sqlite:///crmkit-demo.db --report report.html

test: $(VENV)/.test ## Run all tests: memory, SQLite and a real PostgreSQL
	$(BIN)/python -m pytest -n 2

check: $(VENV)/.dev ## Format, lint, types, architecture, tests: what a change must pass
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2

deep: $(VENV)/.test ## Property tests with 2,000 examples each, 100 kills, all tests with a key ring
	CRMKIT_HYPOTHESIS_PROFILE=deep $(BIN)/python -m pytest -n 2 tests/properties \
	    tests/contract/test_crashes.py tests/acceptance/test_sync_cut_off.py \
	    tests/acceptance/test_a_year.py tests/contract/test_rules.py \
	    tests/contract/test_rotation_crashes.py tests/contract/test_erasure_killed.py \
	    tests/contract/test_encryption.py tests/contract/test_audit_tampering.py
	CRMKIT_TEST_ENCRYPTED=1 $(BIN)/python -m pytest -n 2 tests/contract tests/acceptance

bench: $(VENV)/.test ## Run the benchmarks
	$(BIN)/python -m benchmarks

clean: ## Remove the environment, caches and everything that was built or generated
	rm -rf $(VENV) dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -f crmkit-demo.db crmkit-demo.db-shm crmkit-demo.db-wal report.html
	find src tests benchmarks -type d -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

# Stamps, one for each set of extras. A larger set contains the smaller ones and stamps them too,
# so that no set-up runs twice; all are renewed when pyproject.toml changes.

$(VENV)/.cli: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable '.[cli]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable '.[test]'
	@touch $(VENV)/.cli $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(INSTALL) --editable '.[dev]'
	@touch $(VENV)/.cli $(VENV)/.test $@

$(BIN)/python:
	@python=; for candidate in $(CANDIDATES); do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        python=$$candidate; break; \
	    fi; \
	done; \
	if [ -z "$$python" ]; then \
	    echo 'crmkit needs Python 3.11 or newer; tried: $(CANDIDATES).' \
	        'Name one with: make PYTHON=/path/to/python' >&2; \
	    exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "$$python cannot create virtual environments: its module ensurepip is missing." \
	        'On Debian and Ubuntu: apt install python3-venv' >&2; \
	    exit 1; \
	fi; \
	"$$python" -m venv --clear $(VENV)
