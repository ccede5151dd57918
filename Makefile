# `make demo` and `make test` work on a fresh clone with python3 >= 3.11 and a C compiler, nothing else.
PYTHON ?= python3
PIP := .venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check
# The installation is editable: only what is compiled or declared needs it again.
BUILT_FROM := pyproject.toml constraints.txt $(shell find src/isoq -name "*.pyx" -o -name "*.pxd" -o -name "*.h")

.PHONY: demo test quick browser docs libisoq fuzz bench clean

demo: .venv/run.stamp
	.venv/bin/python examples/demo.py

test: .venv/develop.stamp
	.venv/bin/python -m pytest -n auto --dist worksteal
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy

# What to run between two edits: under a minute on two cores.
quick: .venv/develop.stamp
	.venv/bin/python -m pytest -n auto --dist worksteal -m "not slow"
	.venv/bin/python -m ruff check .

docs: .venv/develop.stamp
	.venv/bin/python -m mkdocs build --strict --site-dir build/site

# The decoder as a C library, in build/libisoq. It needs no Python, but zlib and liblzma.
libisoq:
	$(MAKE) -C libisoq

# For the test that opens a report: headless Chromium from the distribution's packages, unless there is one. Without it that test is skipped.
browser:
	@command -v chromium-headless-shell > /dev/null || command -v chromium > /dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium-headless-shell; }

fuzz: .venv/run.stamp
	.venv/bin/python fuzz/run.py --seconds 60

bench: .venv/run.stamp
	.venv/bin/python bench/rate.py
	.venv/bin/python bench/accuracy.py
	.venv/bin/python bench/throughput.py

clean:
	rm -rf .venv build demo-output src/*.egg-info
	find src/isoq -name "*.so" -delete
	for source in $(shell find src/isoq -name "*.pyx"); do rm -f $${source%.pyx}.c; done

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/run.stamp: $(BUILT_FROM) | .venv/bin/python
	$(PIP) --editable '.[evaluate]'
	touch $@

# torch by its exact version and first: where a CPU build of it lies at hand (find-links), the exact version selects that one, whereas
# `torch>=2.13` of the train extra alone would bring the newest from the index, and with it several GB of CUDA libraries.
.venv/develop.stamp: $(BUILT_FROM) | .venv/bin/python
	$(PIP) torch==2.13.0
	$(PIP) --constraint constraints.txt --editable '.[dev,evaluate,train]'
	touch .venv/run.stamp $@
