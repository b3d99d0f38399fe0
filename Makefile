# `make demo` runs the whole recipe; `make help` lists the rest.

PYTHON ?= python3
# uv reads neither pip's settings nor its wheel folders: hand them on.
export UV_FIND_LINKS ?= $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)
export UV_LINK_MODE ?= hardlink
export SNOW_HOME ?= $(CURDIR)/.snow
export DAGSTER_HOME ?= $(SNOW_HOME)/dagster
export HF_HUB_OFFLINE ?= 1
# RECIPE=MICRO, or RECIPE=module:VALUE, chooses the recipe of every command, as SNOW_RECIPE does.
ifdef RECIPE
export SNOW_RECIPE := $(RECIPE)
endif
# Links to MLflow on Dagster's pages lead to this port.
export MLFLOW_PORT ?= 5000

# Where it is set, as in containers, each of the demo's jobs would compile torch again.
unexport PYTHONDONTWRITEBYTECODE
# Both environments are made at once, and linters run beside the suite.
MAKEFLAGS += --jobs=2

RUN := .venv/bin/python
UV := .venv/bin/uv

# dbt reads the published file read-only, so neither its publisher nor its readers wait.
WAREHOUSE = $(wildcard $(SNOW_HOME)/warehouse.duckdb)
DBT_DOCS := env DO_NOT_TRACK=1 .venv/bin/dbt --quiet --log-level-file none --log-path "$(SNOW_HOME)/dbt/logs" docs
DBT_FLAGS = --project-dir dbt_like_sql --profiles-dir dbt_like_sql --target $(if $(WAREHOUSE),published,empty) \
	--target-path "$(SNOW_HOME)/dbt/docs"

.PHONY: help demo plan compare purge verify suites archives experiment promote dev mlflow mlflow-rebuild sql dbt-docs dbt-docs-site test suite lint bench locks clean
help:  ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'

demo: .venv/ready .venv-vllm/ready  ## materialize the whole recipe and show what came out
	@$(RUN) -W ignore -m snow_assets.cli.demo

plan: .venv/ready  ## what the recipe would redo, why, and its cost: make plan, make plan A=SMOKE B=ARCTIC, make plan EXPERIMENT=paper_claims
	@$(RUN) -W ignore -m snow_assets.cli.plan $(if $(EXPERIMENT),--experiment=$(EXPERIMENT)) $(A) $(B)

compare: .venv/ready  ## what a changed recipe does to the data: make compare A=SMOKE B=module:VALUE
	@$(RUN) -W ignore -m snow_assets.cli.compare $(A) $(B)

purge: .venv/ready  ## what nobody needs and what opted out, listed; make purge GO=1 deletes it
	@$(RUN) -W ignore -m snow_assets.cli.purge $(if $(GO),go) $(if $(UNFINISHED),unfinished)

verify: .venv/ready  ## compare the digests of all live files; make verify ALL=1 those of old artifacts, too
	@$(RUN) -W ignore -m snow_assets.cli.verify $(if $(ALL),all)

archives: .venv/ready  ## fetch the archives that the recipe pins, with pip and npm: make archives RECIPE=MICRO
	@$(RUN) -W ignore -m snow_assets.cli.archives

experiment: .venv/ready .venv-vllm/ready  ## train an experiment's arms and show the comparisons: make experiment NAME=paper_claims RECIPE=MICRO
	@$(RUN) -W ignore -m snow_assets.cli.experiment $(NAME)

promote: .venv/ready  ## move the recipe's alias in MLflow to its models, unless a gate holds them back
	@$(RUN) -W ignore -m snow_assets.cli.promote

suites: .venv/ready  ## parse the benchmarks' files and run their canonical solutions: make suites FILES=folder BENCHMARK_PYTHON=interpreter
	@$(RUN) -W ignore -m snow_assets.cli.suites "$(FILES)" "$(BENCHMARK_PYTHON)"

dev: .venv/ready .venv-vllm/ready  ## Dagster at http://localhost:3000 (PORT) and MLflow at 5000 (MLFLOW_PORT)
	@$(RUN) -m snow_assets.home
	@exec $(RUN) -W ignore -m snow_assets.cli.ui dev $(or $(PORT),3000) $(MLFLOW_PORT)

mlflow: .venv/ready  ## MLflow alone, at http://localhost:5000 (MLFLOW_PORT)
	@$(RUN) -m snow_assets.home
	@exec $(RUN) -W ignore -m snow_assets.cli.ui mlflow $(or $(PORT),$(MLFLOW_PORT))

mlflow-rebuild: .venv/ready  ## record everything in the lake again, if MLflow's store is damaged or gone
	@$(RUN) -W ignore -m snow_assets.cli.mlflow_rebuild

sql: .venv/ready  ## ask the quality tables: make sql Q="select ..." LAKE=s3://bucket/lake
	@$(RUN) -m snow_resources.sql $(if $(LAKE),--lake "$(LAKE)") $(if $(RECIPE),--recipe "$(RECIPE)") $(if $(Q),-- "$$Q")

dbt-docs: dbt-docs-site  ## the tables' documentation and lineage, at http://localhost:8080 (PORT)
	@exec $(DBT_DOCS) serve --no-browser --host 127.0.0.1 --port $(or $(PORT),8080) $(DBT_FLAGS)

dbt-docs-site: .venv/ready  ## that documentation as files, in .snow/dbt/docs
	$(if $(WAREHOUSE),,@echo "No tables are published yet, so the pages show no types and sizes; make demo publishes them.")
	@$(DBT_DOCS) generate $(DBT_FLAGS)

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/sqlfluff lint dbt_like_sql

test: lint suite  ## linters and the whole suite

# Half of the suite waits for one core or for a disk: two workers, each a folder of tests at a time.
# A cluster's pods are waited for longer still: three.
suite: .venv/ready .venv/engine .venv-vllm/ready
	$(RUN) -m pytest -n $(if $(SNOW_TEST_IMAGE),3,2) --dist loadscope --no-loadscope-reorder

bench: .venv/ready .cache/benchmarks/peers/ready  ## curation and scoring beside the peers; STAGE=near for one
	$(RUN) benchmarks/bench.py $(STAGE)

.cache/benchmarks/peers/ready: benchmarks/peers.txt .venv/ready
	$(PYTHON) -m venv .cache/benchmarks/peers
	$(UV) pip install -q -p .cache/benchmarks/peers/bin/python -r benchmarks/peers.txt
	@touch $@

# uv installs a lock in seconds; plain pip does the same in minutes.
$(UV): requirements.lock
	$(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > .venv/uv.txt
	.venv/bin/pip install -q --disable-pip-version-check --require-hashes -r .venv/uv.txt
	@touch $@

# What every run imports is imported once, so that no two of them compile its bytecode, or the kernels, at once.
.venv/ready: requirements.lock pyproject.toml | $(UV)
	$(UV) pip install -q -p $(RUN) --no-deps -r requirements.lock
	$(UV) pip install -q -p $(RUN) --no-deps --no-build-isolation -e .
	$(RUN) -m snow_assets.curation.compilation
	$(RUN) -c "import dagster, dbt.cli.main, mlflow, openvino, torch, transformers.modeling_utils"
	@touch $@

# Curation on a Ray cluster, and its tests: no other command needs Ray.
.venv/engine: requirements-engine.lock .venv/ready
	$(UV) pip install -q -p $(RUN) --no-deps -r requirements-engine.lock
	@touch $@

# vLLM decides torch and transformers for itself: an environment of its own.
.venv-vllm/ready: requirements-vllm.lock | $(UV)
	$(UV) venv -q --clear -p $(PYTHON) .venv-vllm
	$(UV) pip install -q -p .venv-vllm/bin/python --no-deps -r requirements-vllm.lock
	$(UV) pip install -q -p .venv-vllm/bin/python --no-deps --no-build-isolation -e .
	.venv-vllm/bin/python -c "import vllm.entrypoints.llm"
	@touch $@

locks: .venv/ready  ## write the locks' hashes anew, after a version in them has changed
	$(RUN) k8s/lock_hashes.py

clean:  ## forget the lake, the databases and the environments
	rm -rf .snow .venv .venv-vllm
