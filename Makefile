# Everything a contributor runs. `make` alone lists the targets.
PYTHON ?= python3.11
BIN := .venv/bin
# Airflow reads its home when it is imported; tests that need one make their own.
export AIRFLOW__CORE__LOAD_EXAMPLES := False

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow kills test-pages check accuracy bench format generated lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: .venv/.ready ## install everything into .venv (from requirements.lock, hashes checked)

.venv/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## three days of a synthetic city through a real Airflow, then the scoreboard and the report
	$(BIN)/dmp demo

test: setup ## the test suite (no root, no browser)
	DMP_THREADS=1 $(BIN)/python -m pytest -m "not pages and not airflow and not slow and not shared" -n 2 --dist loadfile --no-loadscope-reorder --durations=10
	$(BIN)/python -m pytest -m "airflow and not slow" --durations=5

test-slow: setup ## long tests: kills, hostile files, replays of ../shared/data (skipped where it is absent)
	$(BIN)/python -m pytest -m "(slow or shared) and not airflow" -n 2 --dist loadfile --no-loadscope-reorder --durations=10 --ignore=tests/hostile
	$(BIN)/python -m pytest tests/hostile -s
	$(BIN)/python -m pytest -m "airflow and slow" -s

kills: setup ## 500 processes killed while files of every format come in: nothing lost, nothing doubled
	DMP_KILLS=500 $(BIN)/python -m pytest tests/crash/test_kill_formats.py tests/crash/test_kill_upkeep.py -q -s

test-pages: setup ## the tests that need Debian's Chromium and LibreOffice Calc; installs them (root)
	@{ command -v chromium && command -v soffice; } >/dev/null || { \
	  SUDO=$$([ "$$(id -u)" = 0 ] || echo sudo); $$SUDO apt-get update -q && $$SUDO apt-get install -y -q chromium fonts-noto-cjk && \
	  $$SUDO apt-get install -y -q --no-install-recommends libreoffice-calc; }
	$(BIN)/python -m pytest -m pages

check: setup ## what reviewers ask for first: ruff, mypy --strict, the layers, the contracts, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dmp contract check

accuracy: setup ## precision, recall and F1 of linking; survivorship against two other rules; more where ../shared/data is at hand
	$(BIN)/python -m benchmarks.accuracy
	$(BIN)/python -m benchmarks.survivorship

bench: setup ## wall time and peak memory beside a hand-written baseline or another tool, as ratios
	$(BIN)/python -m benchmarks.intake
	$(BIN)/python -m benchmarks.gate
	$(BIN)/python -m benchmarks.report
	$(BIN)/python -m benchmarks.small_files
	$(BIN)/python -m benchmarks.linking

format: setup ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

generated: setup ## write the files that are made from code: docs/reference.md, docs/gx-conformance.md, JSON Schemas
	$(BIN)/python -m pipelines.reference_docs

lock: setup ## resolve requirements.lock anew (needs uv)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --all-extras \
	  --custom-compile-command "make lock" -o requirements.lock pyproject.toml requirements-build.in

clean: ## remove the environment and the default workspace
	rm -rf .venv workspace .mypy_cache .ruff_cache .pytest_cache
