# Needs Python 3.11 or later with venv, make and git. `make setup` is part of every target that needs it.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.orcs-setup
PROTO_RELEASE := protos/released/orcs-v1.binpb

.PHONY: setup demo test torture check bench protos format constraints clean

setup: $(STAMP)

$(STAMP): pyproject.toml orcs_client/pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ORCS needs Python 3.11 or later: make PYTHON=python3.11 …")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ./orcs_client -e '.[dev]'
	@touch $(STAMP)

demo: setup
	$(BIN)/python examples/demo.py

test: setup
	$(BIN)/python -m pytest --cov --cov-report=
	$(BIN)/coverage report --include='orcs_server/workflow/*' --fail-under=100 --format=total
	$(BIN)/coverage report --fail-under=90 --skip-covered

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	@if test -f $(PROTO_RELEASE); then $(BIN)/buf breaking --against $(PROTO_RELEASE); \
	else echo "buf breaking: skipped, nothing has been released yet"; fi
	$(BIN)/python tools/generate_stubs.py --check
	$(BIN)/python tools/generate_state_diagrams.py --check

torture: setup
	$(BIN)/python -m tests.torture

bench: setup
	$(BIN)/python -m benchmarks

protos: setup
	$(BIN)/buf format --write
	$(BIN)/buf lint
	$(BIN)/python tools/generate_stubs.py

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format --write

constraints:
	$(PYTHON) tools/pin.py

clean:
	rm -rf .venv .venv-* .cache build dist htmlcov .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
