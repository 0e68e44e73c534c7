# Copyright: muejam.celery contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:

PYTHON ?= python3
export PYTHON
# Images of Python often set it. Hundreds of processes would compile the same files again.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
PY := $(BIN)/python

# Programs of the virtual environment find this checkout as the collection muejam.celery.
WITH_COLLECTION = collections=$$($(PY) tests/bed/collections_path.py) && \
	PATH="$(BIN):$$PATH" PYTHONPATH="$$collections" ANSIBLE_COLLECTIONS_PATH="$$collections"

# Its packages are no installed ones to mypy: it would look for their stubs.
TYPED = MYPYPATH="$$($(PY) tests/bed/collections_path.py):tests/bed:tests/cluster:tests/broker:molecule/shared/python:demo:demo/app:roles/worker/files"

# Molecule looks elsewhere in a collection unless it is told.
export MOLECULE_GLOB := molecule/*/molecule.yml
SCENARIOS := $(patsubst molecule/%/molecule.yml,%,$(wildcard molecule/*/molecule.yml))
ARGS ?=
# What is scarce is cores, and hosts mostly wait: for workers, drains and packages. This many are used at once by the
# tests on them, and in "make test" one more by what runs beside.
HOSTS ?= 3
# Lanes of "make test" that run side by side.
LANES ?= 2
export LANES
# Processes of pytest for unit, broker and cluster tests.
PROCESSES ?= 2
PYTEST := -m pytest --durations=20

.PHONY: help
help: ## Show this text
	@echo 'make TARGET, on Debian or Ubuntu with make and git, as root or with sudo:'
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/  \1\t\2/p' Makefile | expand -t 18
	@echo 'ARGS="-k name -x" goes to pytest, molecule or ansible-test.'

.PHONY: demo
demo: venv image ## Deploy a fleet to a real systemd host, send it a burst, watch it scale itself; report in demo/out
	@$(WITH_COLLECTION) $(PY) demo/run.py $(ARGS)

.PHONY: demo-kubernetes
demo-kubernetes: venv servers ## The same on a Kubernetes of one node: a burst scaled by KEDA, then by the policy; one chart
	@$(WITH_COLLECTION) $(PY) demo/cluster_run.py $(ARGS)

.PHONY: demo-down
demo-down: venv ## Remove what the demos left
	@$(WITH_COLLECTION) $(PY) demo/run.py down
	@$(WITH_COLLECTION) $(PY) demo/cluster_run.py down

STAGES := lint servers prepared -- sanity unit broker $(SCENARIOS:%=molecule-%) -- host

.PHONY: test
test: venv ## All that CI runs: lint first, then sanity, unit, broker, molecule, beside them hosts, then a Kubernetes
	@$(PY) tests/bed/stages.py --beside cluster-prepared $(STAGES) -- cluster

.PHONY: test-hosts
test-hosts: venv ## The same without the tests on a Kubernetes
	@$(PY) tests/bed/stages.py $(STAGES)

.PHONY: quick
quick: venv ## Lint and unit tests, side by side; no host, no broker
	@$(PY) tests/bed/stages.py -- lint -- unit

.PHONY: soak
soak: venv prepared ## What takes long: many examples of rules, exactly once on hosts and in a cluster, alerts, faults, the default policy, the training
	@$(PY) tests/bed/stages.py examples exactly-once alerts brief training cluster-soak

.PHONY: lint
lint: venv ## Style, types, Ansible's production rules, and the built collection with its documentation
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(TYPED) $(BIN)/mypy --no-error-summary -p ansible_collections.muejam.celery.plugins -p muejam_celery_lifecycle
	@$(TYPED) $(BIN)/mypy --no-error-summary tests/bed tests/cluster/cluster.py tests/conftest.py tests/host/conftest.py \
		molecule/conftest.py demo monitoring
	@$(BIN)/yamllint --strict .
	@$(WITH_COLLECTION) $(BIN)/antsibull-changelog lint
	@$(WITH_COLLECTION) $(BIN)/ansible-lint --offline -q
	@$(PY) tests/bed/artifact.py

.PHONY: sanity
sanity: venv ## ansible-test sanity, nothing ignored
	@$(PY) tests/bed/sanity.py $(ARGS)

.PHONY: unit
unit: venv ## Unit tests
	@$(PY) $(PYTEST) tests/unit -m 'not soak' --numprocesses $(PROCESSES) $(ARGS)

.PHONY: examples
examples: venv ## The unit tests with many more examples of what rules are to hold for
	@$(PY) $(PYTEST) tests/unit --numprocesses $(PROCESSES) --hypothesis-profile many $(ARGS)

.PHONY: broker
broker: venv servers browser ## Tests with real brokers, a real Prometheus and a real browser
	@$(PY) $(PYTEST) tests/broker --numprocesses $(PROCESSES) --dist loadfile $(ARGS)

.PHONY: molecule
molecule: venv image $(SCENARIOS:%=molecule-%) ## Every molecule scenario, on real systemd hosts

# All but one are spared what Ansible does on the controller again and again (docs/testing.md).
MODULES := $(CURDIR)/.cache/molecule/modules
SPARING = $(if $(filter redis_prefork,$*),,MUEJAM_MODULES="$(MODULES)" \
	ANSIBLE_CALLBACKS_ENABLED="sparing$${ANSIBLE_CALLBACKS_ENABLED:+,$$ANSIBLE_CALLBACKS_ENABLED}" \
	ANSIBLE_CALLBACK_PLUGINS="$(CURDIR)/tests/bed/callback_plugins$${ANSIBLE_CALLBACK_PLUGINS:+:$$ANSIBLE_CALLBACK_PLUGINS}")

# Left to itself molecule keeps its files in one place for all checkouts of the same name.
.PHONY: $(SCENARIOS:%=molecule-%)
$(SCENARIOS:%=molecule-%): molecule-%: venv image
	@mkdir -p "$(MODULES)"
	@$(WITH_COLLECTION) $(SPARING) MUEJAM_HOSTS="$$($(PY) tests/bed/host.py prefix)" \
		MOLECULE_EPHEMERAL_DIRECTORY="$(CURDIR)/.cache/molecule/$*" $(BIN)/molecule test --no-shared-state --scenario-name $* $(ARGS)

# In the order of their folders: left to itself pytest-xdist begins with the files of the most tests, which are not
# those that take longest.
.PHONY: host
host: venv prepared servers ## Tests on real systemd hosts
	@$(PY) $(PYTEST) tests/host -m 'not brief and not alerts and not training' --numprocesses $(HOSTS) --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: cluster
cluster: venv servers cluster-up ## Tests on a real Kubernetes of one node, which stays up
	@$(PY) $(PYTEST) tests/cluster -m 'not soak' --numprocesses $(PROCESSES) --dist worksteal $(ARGS)

.PHONY: cluster-soak
cluster-soak: venv servers cluster-up ## What takes long there: exactly once, faults of the cluster and of what is around it
	@$(PY) $(PYTEST) tests/cluster/soak $(ARGS)

.PHONY: cluster-up
cluster-up: venv ## Bring that Kubernetes up; the first time builds it, which takes a quarter of an hour
	@test -n "$$MUEJAM_KUBECONFIG" || $(PY) tests/cluster/cluster.py up >/dev/null

.PHONY: cluster-prepared
cluster-prepared: venv
	@test -n "$$MUEJAM_KUBECONFIG" || $(PY) tests/cluster/cluster.py prepared

.PHONY: cluster-down
cluster-down: venv ## Remove that Kubernetes with everything in it
	@$(PY) tests/cluster/cluster.py down

.PHONY: exactly-once
exactly-once: venv prepared ## Five times in a row: thousands of tasks while the fleet is scaled, each seen exactly once
	@MUEJAM_EXACTLY_ONCE_RUNS=5 $(PY) $(PYTEST) tests/host/brokers -m exactly_once $(ARGS)

.PHONY: alerts
alerts: venv prepared ## What goes wrong for real raises exactly the alert that it should, told to a webhook; ten minutes
	@$(PY) $(PYTEST) tests/host/monitoring -m alerts $(ARGS)

.PHONY: brief
brief: venv prepared ## The default policy on a real host with its own times; a quarter of an hour
	@$(PY) $(PYTEST) tests/host/autoscaler/test_brief.py -m brief $(ARGS)

.PHONY: training
training: venv image ## The exercises of docs/training.md on the demo's host, as they stand there; a quarter of an hour
	@$(PY) $(PYTEST) tests/host/training -m training $(ARGS)

BENCHMARKS := queue_reading event_stream scale_start deploy_again autoscaler_cost metrics_endpoint page burst decision_quality
.PHONY: benchmark
benchmark: venv image servers ## Measure what docs/measured.md tells, on a machine with nothing else to do; 15 minutes
	@set -e; for name in $(BENCHMARKS); do echo "==> $$name"; $(WITH_COLLECTION) $(PY) tests/benchmark/$$name.py; done

.PHONY: benchmark-kubernetes
benchmark-kubernetes: venv servers ## Measure target mode against KEDA in a cluster; ten minutes for a round (ARGS="--rounds 3")
	@$(WITH_COLLECTION) $(PY) tests/benchmark/keda.py $(ARGS)

.PHONY: build
build: venv ## The collection's archive, in build/
	@$(BIN)/ansible-galaxy collection build --force --output-path build .

.PHONY: docs
docs: venv ## Write dashboards, and what users read of keys, variables, metrics and alerts, anew from their tables
	@$(WITH_COLLECTION) $(PY) tests/bed/documented.py
	@$(PY) monitoring/dashboards.py

.PHONY: image-autoscaler
image-autoscaler: venv ## The image of the autoscaler for a cluster; BASE=IMAGE names what it is built on
	@$(PY) tests/bed/autoscaler_image.py

.PHONY: changelog
changelog: venv ## Write CHANGELOG.md anew from changelogs/fragments
	@$(WITH_COLLECTION) $(BIN)/antsibull-changelog release --update-existing --refresh --reload-plugins

.PHONY: clean
clean: ## Remove what make and the tests put into this checkout, and the hosts they started
	@if command -v docker >/dev/null 2>&1 && docker version >/dev/null 2>&1; then $(PYTHON) tests/bed/host.py clean; fi
	@rm -rf $(VENV) build demo/out .ansible .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache

# What the targets above stand on; each does nothing when it is there.

.PHONY: venv
venv:
	@tests/bed/venv.sh $(VENV)

.PHONY: servers
servers:
	@tests/bed/packages.sh servers

.PHONY: browser
browser:
	@tests/bed/packages.sh browser

.PHONY: image
image: venv
	@$(PY) tests/bed/host.py image >/dev/null

# The release that tests/host/conftest.py takes.
.PHONY: prepared
prepared: venv
	@$(PY) tests/bed/host.py prepared --release $${MUEJAM_HOST_RELEASE:-bookworm} >/dev/null
