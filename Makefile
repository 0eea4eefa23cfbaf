# Needs Python 3.11 or newer and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
THREADS := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.PHONY: demo test test-oldest lint bench fuzz soak calibrate literature gpu-check docs clean

demo: $(VENV)/.installed
	$(BIN)/mcnet run scenarios/quickstart.toml --out data/runs/quickstart
	$(BIN)/mcnet analyze data/runs/quickstart
	$(BIN)/mcnet report data/runs/quickstart

test: $(VENV)/.installed-test lint
	$(THREADS) $(BIN)/python -m pytest -n 2 --dist worksteal

OLDEST := .venv-oldest

# The lowest versions that pyproject.toml allows, with the test tools of today; what old libraries warn of is no fault.
test-oldest: $(OLDEST)/.installed
	$(THREADS) $(OLDEST)/bin/python -m pytest -n 2 --dist worksteal -W default tests/dataset tests/engine tests/analysis

$(OLDEST)/.installed: pyproject.toml tools/oldest.py
	$(PYTHON) -m venv $(OLDEST)
	$(PYTHON) -m tools.oldest dask zarr > $(OLDEST)/requirements.txt
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check -r $(OLDEST)/requirements.txt \
		pytest pytest-xdist hypothesis array-api-strict netCDF4 mpmath scikit-learn
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-test
	$(THREADS) $(BIN)/python -m benchmarks

FUZZ_SECONDS ?= 600

# atheris guides by coverage; it is not made for all systems, and mutations are drawn at random without it.
fuzz: $(VENV)/.installed-test
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	$(THREADS) $(BIN)/python -m tools.fuzz $(FUZZ_SECONDS)

SOAK_SECONDS ?= 3600

soak: $(VENV)/.installed-test
	$(THREADS) $(BIN)/python -m tools.soak $(SOAK_SECONDS)

STUDIES ?= 150

calibrate: $(VENV)/.installed-test
	$(THREADS) $(BIN)/python -m tools.calibrate $(STUDIES)

literature: $(VENV)/.installed
	$(THREADS) $(BIN)/python -m tools.literature

gpu-check:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m benchmarks.gpu_check

docs: $(VENV)/.installed-docs
	$(BIN)/mkdocs build --strict

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("mcnet needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,dask,zarr]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache
