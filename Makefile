# `make` alone lists the targets. CARGO_FLAGS goes to every cargo build, e.g. CARGO_FLAGS=--offline.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CARGO_FLAGS ?=
TEST_FLAGS ?=
SERVICES := tests/services
# Most tests wait for servers and clocks: more of them than cores run side by side.
export RUST_TEST_THREADS ?= 6
WORKER_VERSION ?= $(shell sed -n '/^\[workspace.package\]/,/^version/s/^version = "\(.*\)"/\1/p' Cargo.toml)
DOCKER_BUILD_FLAGS ?=
COMPOSE_ENV_FILES ?= .env
export WORKER_VERSION COMPOSE_ENV_FILES

.PHONY: help run test services bench docs fmt lint check deny clean image up down scale logs test-containers rust build-packages compose

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: rust build-packages ## builds the worker and runs it on its own, without other servers
	cargo run --release $(CARGO_FLAGS) -- standalone

test: rust ## installs real servers, runs all tests against them (TEST_FLAGS: arguments of cargo test)
	@$(SERVICES)/install.sh
	@begin=$$SECONDS code=0; log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	$(SERVICES)/with_services.sh cargo test --workspace --features failpoints $(CARGO_FLAGS) $(TEST_FLAGS) 2>&1 \
	  | tee "$$log" || code=$$?; \
	awk -v now="$$(date '+%F %T %z')" -v seconds=$$((SECONDS - begin)) -v code=$$code \
	  '/^test result:/ { passed += $$4; failed += $$6; ignored += $$8 } \
	   END { printf "%s  tests: %d passed, %d failed, %d ignored in %d s, exit code %d\n", now, passed, failed, ignored, seconds, code }' "$$log"; \
	exit $$code

services: ## starts the real servers for a developer and prints their addresses, until Ctrl-C
	@$(SERVICES)/install.sh
	@$(SERVICES)/with_services.sh --print-env

bench: rust ## measures the pipeline against the real servers
	@$(SERVICES)/install.sh
	$(SERVICES)/with_services.sh cargo bench --bench pipeline $(CARGO_FLAGS)

docs: rust build-packages ## rewrites what is written from the code: default configuration, its page
	cargo build $(CARGO_FLAGS)
	cargo run -q $(CARGO_FLAGS) -- config default >docker/data_worker.yml
	cargo run -q $(CARGO_FLAGS) -- config reference >docs/configuration.md

fmt: rust ## formats the code and rewrites the file headers
	cargo fmt --all
	.ci/headers.py --write

lint: rust build-packages ## runs clippy
	cargo clippy --workspace --all-targets --features failpoints $(CARGO_FLAGS) -- -D warnings

check: ## runs everything a change has to pass
	.ci/run

image: ## builds the worker's image, ginkgo-data-worker:VERSION
	docker build $(DOCKER_BUILD_FLAGS) -f docker/Dockerfile -t ginkgo-data-worker:$(WORKER_VERSION) --build-arg VERSION=$(WORKER_VERSION) \
	  --build-arg REVISION=$$(git describe --always --dirty 2>/dev/null || echo unknown) .

up: compose image $(COMPOSE_ENV_FILES) ## starts four workers and all they need as containers; makes passwords at the first time
	docker compose up -d --no-build

down: compose ## stops and removes the containers; their data stays
	docker compose down

scale: compose ## makes it N workers, e.g. `make scale N=6`
	docker compose up -d --no-build --no-recreate --no-deps --scale data-worker=$${N:?is missing, e.g. make scale N=6} data-worker

logs: compose ## follows the workers' logs
	docker compose logs -f --tail 100 data-worker

test-containers: rust build-packages ## tests the image and the compose files with a real engine (HEARTBEAT_MINUTES=10)
	@$(SERVICES)/install.sh
	@tests/containers/engine.sh tests/containers/run.sh

deny: rust ## checks licences and origins of all dependencies by deny.toml (cargo install cargo-deny)
	cargo deny check licenses bans sources

clean: ## removes build results and the installed test servers
	rm -rf target

$(COMPOSE_ENV_FILES):
	@(umask 077; while IFS= read -r line; do \
	  [[ $$line != *_PASSWORD= ]] || line+=$$(head -c 18 /dev/urandom | od -An -tx1 | tr -d ' \n'); \
	  printf '%s\n' "$$line"; \
	done <.env.example >$@)
	@echo 'passwords are in $@; set TUSHARE_TOKEN there'

compose:
	@docker compose version >/dev/null 2>&1 || { echo 'needed: Docker with Compose v2 (`docker compose`)' >&2; exit 1; }

rust:
	@command -v cargo >/dev/null || { echo 'cargo is missing: install Rust (rust-version in Cargo.toml), see rustup or your distribution' >&2; exit 1; }

# What librdkafka's build needs; installed only where something is missing.
build-packages:
	@if ! { command -v cc && command -v c++ && command -v pkg-config && echo '#include <zlib.h>' | cc -E -; } >/dev/null 2>&1; then \
	  command -v apt-get >/dev/null || { echo 'needed: a C and C++ compiler, make, pkg-config, zlib headers' >&2; exit 1; }; \
	  sudo=; if ((EUID)); then sudo=sudo; fi; \
	  $$sudo apt-get update && $$sudo apt-get install -y --no-install-recommends gcc g++ make pkg-config zlib1g-dev; \
	fi
