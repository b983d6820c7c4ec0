# The only list of commands: people, README.md and .ci/run call these names and nothing else.
# Needs Linux, make and Python 3.11 or newer with its venv module. All else comes, pinned by hash, into .uv/ and .venv/.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory

# The first interpreter that is new enough; `make PYTHON=/path/to/python3.11` names another one.
PYTHON ?= $(shell for python in python3.11 python3 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { command -v $$python; break; }; done)
# Three test processes keep two cores busy, since one of them always waits; `make test PYTEST_WORKERS=12` on a big machine.
PYTEST_WORKERS ?= 3
# Of the ones before an API server some wait for a minute: they share one of these processes and leave the machine to
# the others.
WAITING_WORKERS ?= 4
# Two before a whole node, which has work of its own; the order of its tests is made for two.
NODE_WORKERS ?= 2
PYTEST_ARGS ?=

BIN := .venv/bin
UV := .uv/bin/uv
SETUP := .venv/.setup-done
EXAMPLE := examples/01-vanilla-two-hospitals

# Every process of a run imports PyTorch: without the compiled modules kept beside the sources each would compile them
# anew, 3 s of it.
unexport PYTHONDONTWRITEBYTECODE

# uv must use the Python named here and never fetch one: what is installed is what the locks say and nothing else.
export UV_PYTHON_DOWNLOADS := never

.PHONY: help
help: ## Show this list
	@echo "make TARGET, where TARGET is one of"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---------------------------------------------------------------------------------------------------------- setup

.PHONY: setup
setup: $(SETUP) ## Make .venv with everything the commands below need (a second call does nothing)

$(UV): requirements/uv.txt
	@test -n "$(PYTHON)" || { echo "Found no Python 3.11 or newer on the PATH. Allowed: Python >= 3.11." \
	  "To do: install python3.11 and python3.11-venv, or call make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments." \
	  "To do: install its venv package (Debian, Ubuntu: apt install python3-venv, or python3.11-venv)" >&2; exit 1; }
	@echo "make: bringing uv into .uv/"
	@$(PYTHON) -m venv --clear .uv
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

.venv/pyvenv.cfg: | $(UV)
	@$(UV) venv --quiet --python "$(PYTHON)" .venv

$(SETUP): $(UV) requirements/dev.txt pyproject.toml | .venv/pyvenv.cfg
	@echo "make: installing the locked packages into .venv/ (the first time downloads about 3 GB, most of it PyTorch)"
	@quiet=; test -t 2 || quiet=--quiet; \
	  $(UV) pip sync $$quiet --python $(BIN)/python --require-hashes requirements/dev.txt  # on a terminal: progress bars
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# ------------------------------------------------------------------------------------------------------------ use

.PHONY: demo
demo: setup ## Train example 01 on this machine: two hospitals, one server, real processes and mTLS
	$(BIN)/python $(EXAMPLE)/make_data.py
	$(BIN)/splittraining run -f $(EXAMPLE)/training.yaml --restart

.PHONY: demo-cluster
demo-cluster: setup cluster-packages images-for-tests ## The same example in a real Kubernetes, made on the spot (as root)
	@NAME=$(NAME) CLUSTER=$(CLUSTER) tests/cluster/demo.sh

.PHONY: bench
bench: setup ## Measure split against unsplit steps, the wire, start-up and memory; writes build/bench.json
	@mkdir -p build
	$(BIN)/python tests/bench/run.py --json build/bench.json

# --------------------------------------------------------------------------------------------------------- images

# Docker where its engine answers, else buildah, else this project's own writer: docs/images.md. Into build/images.
IMAGES ?= operator party
ENGINE ?= auto
IMAGES_ARGS ?=

.PHONY: images
images: setup ## Build the container images (IMAGES="operator party", ENGINE=docker|buildah|own; docs/images.md)
	PYTHONPATH=images $(BIN)/python -m image_builder $(IMAGES) --engine $(ENGINE) $(IMAGES_ARGS)

.PHONY: images-party-cpu
images-party-cpu: setup ## Build the party's image for tests: no CUDA, 1.6 GB in place of 5 GB
	PYTHONPATH=images $(BIN)/python -m image_builder party-cpu-test $(IMAGES_ARGS)

# -------------------------------------------------------------------------------------------------------- cluster

# A real Kubernetes node for tests, from pinned Go modules: docs/test-cluster.md. NAME tells several apart; CLUSTER=kind
# takes kind and Docker in its place.
NAME ?= splittraining
CLUSTER ?= node
ON_CLUSTER = PYTHONPATH=tests:images $(BIN)/python -m cluster --form $(CLUSTER) --name $(NAME)

# What a node needs from Debian, and what the images for it are made with.
PACKAGES := containerd runc containernetworking-plugins iptables nftables conntrack iproute2 mmdebstrap gcc binutils

.PHONY: cluster-packages
cluster-packages: ## Install what the test cluster needs from Debian or Ubuntu, where it is missing (as root)
	@dpkg --status $(PACKAGES) >/dev/null 2>&1 || { apt-get update --quiet --quiet; \
	  DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet --no-install-recommends $(PACKAGES); }

.PHONY: cluster-binaries
cluster-binaries: ## Build what the test cluster runs, into ~/.cache/splittraining (12 minutes once; needs Go 1.26)
	PYTHONPATH=tests:images $(PYTHON) -m cluster.binaries

.PHONY: cluster-up
cluster-up: setup ## Bring a test cluster up (NAME=…; needs root, containerd and CNI plugins)
	@$(ON_CLUSTER) up

.PHONY: cluster-load
cluster-load: setup ## Load the images of build/images into a test cluster
	@$(ON_CLUSTER) load build/images/*.tar

.PHONY: cluster-status
cluster-status: setup ## List the test clusters
	@$(ON_CLUSTER) status

.PHONY: cluster-down
cluster-down: setup ## Take a test cluster down; nothing is left of it
	@$(ON_CLUSTER) down

# ---------------------------------------------------------------------------------------------------------- tests

JUST_PYTHON := not gpu and not cluster and not api and not e2e
# Whoever is through with its share takes from another's: whole runs stand side by side, and take a thousand times as long.
SPREAD := -n $(PYTEST_WORKERS) --dist worksteal

.PHONY: test
test: setup ## Run the tests that need nothing but Python (5 minutes on 2 cores)
	$(BIN)/python -m pytest -m "not slow and $(JUST_PYTHON)" $(SPREAD) $(PYTEST_ARGS)

.PHONY: test-api
test-api: setup ## Run the ones that need a real API server (builds it once: cluster-binaries)
	$(BIN)/python -m pytest tests/api tests/chart -m api -n $(WAITING_WORKERS) --dist loadgroup $(PYTEST_ARGS)

.PHONY: test-e2e
test-e2e: setup images-for-tests ## Run the ones that need a whole node: install, apply, Complete, faults (as root)
	CLUSTER=$(CLUSTER) $(BIN)/python -m pytest tests/e2e -m "not full" -n $(NODE_WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

.PHONY: test-e2e-full
test-e2e-full: setup images-for-tests ## Run the ones it leaves out: more examples, and the party's real image (22 GB of disk)
	@PYTHONPATH=images $(BIN)/python -m image_builder party --engine own
	CLUSTER=$(CLUSTER) $(BIN)/python -m pytest tests/e2e -m full $(PYTEST_ARGS)

.PHONY: images-for-tests
images-for-tests: setup
	@PYTHONPATH=images $(BIN)/python -m image_builder operator party-cpu-test --engine own

.PHONY: test-slow
test-slow: setup ## Run the slow ones: the model zoo and stress
	$(BIN)/python -m pytest -m "slow and $(JUST_PYTHON)" $(SPREAD) $(PYTEST_ARGS)

.PHONY: test-gpu
test-gpu: setup ## Run the ones that need a CUDA device
	CUBLAS_WORKSPACE_CONFIG=:4096:8 $(BIN)/python -m pytest -m gpu $(PYTEST_ARGS)

.PHONY: test-images
test-images: setup ## Build the images for tests and run their commands inside (needs root and mmdebstrap)
	$(BIN)/python -m pytest -m cluster tests/images $(PYTEST_ARGS)

.PHONY: test-all
test-all: setup ## Run both `test` and `test-slow`, in one go
	$(BIN)/python -m pytest -m "$(JUST_PYTHON)" $(SPREAD) $(PYTEST_ARGS)

# --------------------------------------------------------------------------------------------------------- checks

.PHONY: lint
lint: setup ## Check style and form (ruff, all rules)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: fmt
fmt: setup ## Put files into form
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: types
types: setup ## Check types (mypy, strict)
	$(BIN)/mypy

.PHONY: imports
imports: setup ## Check which room imports what (import-linter)
	$(BIN)/lint-imports

.PHONY: static
static: setup ## Run lint, types, imports and verify beside each other: mypy keeps one core busy, they the rest
	@$(MAKE) --jobs=2 --output-sync=target types lint imports verify

.PHONY: check
check: static test ## Everything a change must pass

# ------------------------------------------------------------------------------------------------ generated files

.PHONY: crds
crds: setup ## Write crds/, and the chart's copy, from the models in operator/splittraining/api
	$(BIN)/python -m splittraining.cli.render_crds crds/ helm/splittraining/files/crds/

.PHONY: golden
golden: setup ## Write the expected outputs under tests/golden anew; read the diff before you commit it
	SPLITTRAINING_UPDATE_GOLDEN=1 $(BIN)/python -m pytest -q tests/golden

.PHONY: docs
docs: setup ## Write the tables in docs/ that come from code
	$(BIN)/python docs/render_tables.py
	$(BIN)/python docs/render_topologies.py

.PHONY: docs-bytes
docs-bytes: setup ## Train every schedule and write docs/bytes.md from what its parties counted (3 minutes)
	PYTHONPATH=tests $(BIN)/python docs/render_bytes.py

.PHONY: verify
verify: crds golden docs ## Write everything that is generated and fail where that changes a file
	@changed="$$(git status --porcelain -- crds helm tests/golden docs)"; test -z "$$changed" || { git diff -- crds helm tests/golden docs; \
	  echo "$$changed"; echo "Generated files differ from what is committed. To do: commit what this command just wrote." >&2; exit 1; }

.PHONY: lock
lock: $(UV) ## Resolve requirements/*.txt anew within pyproject.toml's bounds (UPGRADE=--upgrade for newer versions)
	@$(call compile,uv,requirements/uv.in)
	@$(call compile,dev,pyproject.toml --extra dev $(UPGRADE))
	@$(call compile,party,pyproject.toml --extra party --constraints requirements/dev.txt)
	@$(call compile,local,pyproject.toml --extra local --constraints requirements/dev.txt)
	@$(call compile,cluster,pyproject.toml --extra cluster --constraints requirements/dev.txt)
	@$(call compile,operator,pyproject.toml --extra operator --constraints requirements/dev.txt $(UPGRADE))

# No index address and no find-links: a lock says what is installed, whoever installs says from where.
define compile
$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
  --custom-compile-command "make lock" --output-file requirements/$(1).txt $(2)
endef

.PHONY: clean
clean: ## Remove what tools leave behind; .venv, .uv and runs/ stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -not -path './.uv/*' -prune -exec rm -rf {} +
