# `make demo` and `make test` are complete by themselves on a bare clone with Python >= 3.11 and a package index.
PYTHON ?= python3
BIN := .venv/bin
SCENARIO ?= errors
WORKERS ?= 2
SECONDS ?= 60
PROCESSES ?= 2
FROM ?= 1

.PHONY: conformance demo soak test check format lint types layers tests requirements bench clean

.venv: requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch .venv

demo: .venv  ## the main job on this machine: a bad release is rolled back
	$(BIN)/rollguard demo $(SCENARIO)

test: check tests  ## everything that must hold before a commit

check: format lint types layers

format: .venv
	$(BIN)/ruff format --check .

lint: .venv
	$(BIN)/ruff check .

types: .venv
	$(BIN)/mypy

layers: .venv
	$(BIN)/lint-imports

tests: .venv
	$(BIN)/pytest -n $(WORKERS)

conformance: .venv  ## a real flyctl against the local platform ($$FLYCTL, or one that Go builds)
	$(BIN)/python -m tests.conformance

soak: .venv  ## seeds of the simulation for SECONDS, in PROCESSES, FROM a seed on; the last line is JSON
	@$(BIN)/python -m tests.simulation.soak --seconds $(SECONDS) --processes $(PROCESSES) --from $(FROM)

requirements:  ## after a change of dependencies in pyproject.toml (needs uv)
	uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 pyproject.toml -o requirements.txt
	uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --python-version 3.11 pyproject.toml --group dev -o requirements-dev.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache dist
