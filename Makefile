# Everything a newcomer needs. Requires only Python 3.11 to 3.13 (with venv or pip) and make.
#
#   make demo                       sets everything up and swaps a face; SOURCE=... TARGET=... OUT=... for your own
#   make test                       the tests, up to half an hour on two cores
#   make help                       the rest

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# An active foreign environment must not leak in, nor what is said to other programs' Python.
unexport VIRTUAL_ENV CONDA_PREFIX CONDA_DEFAULT_ENV $(filter-out PYTHON,$(filter PYTHON%,$(.VARIABLES)))
export PYTHONNOUSERSITE := 1
export PART PYTHON SOURCE TARGET OUT CASES SEED

python := .venv/bin/python

.PHONY: help setup develop demo up test test-full test-cloud test-cloud-full test-manifests lint fuzz bench quality wheel image test-image clean

help:  ## show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)$$/make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null || grep -E '## ' Makefile

setup:  ## create the environment in .venv, for running faceflow
	@requirements/setup.sh cpu

develop:  ## create the environment in .venv, for tests as well
	@requirements/setup.sh dev

demo: setup  ## swap a face now; SOURCE=portrait TARGET=video OUT=folder for your own files
	@.venv/bin/faceflow demo $${SOURCE:+--source "$$SOURCE"} $${TARGET:+--target "$$TARGET"} $${OUT:+--output-dir "$$OUT"}

up: setup  ## run server, worker and deployments until Ctrl-C
	@.venv/bin/faceflow up

# So many files at a time; tests/conftest.py says which files stay together, in one process and with one server.
TEST_PROCESSES ?= 2
pytest = $(python) -m pytest -n $(TEST_PROCESSES) --dist loadscope --no-loadscope-reorder --ignore=tests/cloud

test: develop  ## run the tests
	@$(pytest) -m "not full" tests $(ARGS)

test-full: develop  ## run the tests with the long matrices and measure what they cover, or a part of them: PART=tests/runs
	@status=0; $(pytest) --cov --cov-report= $${PART:-tests} $(ARGS) || status=$$?; \
	echo "covered: $$($(python) -m coverage report --format=total)% of the lines (each file: .venv/bin/coverage report)"; exit $$status

test-cloud: develop  ## run jobs on a hybrid cloud on one machine: stand-ins for Kubernetes and AWS, real Prefect (docs/faults.md)
	@$(python) -m pytest tests/cloud -m "not full" $(ARGS)

test-cloud-full: develop  ## the same with every fault; writes the table in docs/faults.md
	@$(python) -m pytest tests/cloud $(ARGS)

test-manifests: develop  ## check the files for clusters and clouds: schemas, rights, network policies (no cluster needed)
	@$(python) -m pytest tests/manifests tests/pools/test_templates.py $(ARGS)

lint: develop  ## check style, types and import rules
	@echo "==> ruff check" && $(python) -m ruff check --quiet --output-format concise .
	@echo "==> ruff format" && $(python) -m ruff format --quiet --check .
	@echo "==> mypy" && $(python) -m mypy --strict
	@echo "==> import rules" && .venv/bin/lint-imports

fuzz: develop  ## feed mutated media to every reader; CASES=1000 SEED=1, more in docs/media.md
	@$(python) -m tests.fuzz --cases $${CASES:-1000} --seed $${SEED:-1}

bench: develop  ## measure the speed on this machine, in a few minutes
	@$(python) -m benchmarks.host_path
	@$(python) -m benchmarks.routing

quality: develop  ## measure the quality of the swap; draws the plot in docs/quality.md
	@$(python) -m benchmarks.quality --plot docs/pictures/quality.svg
	@$(python) -m benchmarks.occlusion

wheel: setup  ## build the wheel in dist/; pip install adds its dependencies
	@.uv/bin/uv build --quiet --wheel --no-build-isolation --python $(python) --out-dir dist . && ls dist/*.whl

image:  ## build the container image; IMAGE_TARGET=cpu or gpu, more in docs/image.md
	@deployments/image/build.sh $${IMAGE_TARGET:-cpu}

test-image: setup  ## run the container image as a cluster does, and swap a face inside; IMAGE=... selects another image
	@$(python) deployments/image/check.py $${IMAGE:-}

clean:  ## remove everything that was built, including the environment
	@rm -rf .venv .uv dist out .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
