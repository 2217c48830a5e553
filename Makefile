# `make` without a target lists all targets. CARGO_FLAGS is passed to every cargo build, e.g. CARGO_FLAGS=--offline.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CARGO_FLAGS ?=
TEST_FLAGS ?=
SERVICES := tests/services
# Most tests wait for servers and timers, so more tests than cores run in parallel.
export RUST_TEST_THREADS ?= 6
WORKER_VERSION ?= $(shell sed -n '/^\[workspace.package\]/,/^version/s/^version = "\(.*\)"/\1/p' Cargo.toml)
DOCKER_BUILD_FLAGS ?=
COMPOSE_ENV_FILES ?= .env
# SECURE=1: the stack with TLS and logins, for up, down, scale and logs.
ifdef SECURE
export COMPOSE_FILE ?= compose.yaml:compose.secure.yaml
endif
export WORKER_VERSION COMPOSE_ENV_FILES

.PHONY: help run test crash-test simulate services bench coverage docs fmt lint check deny clean image certificates up down scale logs test-containers rust build-packages compose

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: rust build-packages ## builds the worker and runs the standalone demonstration, without servers
	cargo run --release $(CARGO_FLAGS) -- standalone

test: rust ## installs real servers and runs all tests against them (TEST_FLAGS: arguments for cargo test)
	@$(SERVICES)/install.sh
	@begin=$$SECONDS code=0; log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	$(SERVICES)/with_services.sh cargo test --workspace --features failpoints $(CARGO_FLAGS) $(TEST_FLAGS) 2>&1 \
	  | tee "$$log" || code=$$?; \
	awk -v now="$$(date '+%F %T %z')" -v seconds=$$((SECONDS - begin)) -v code=$$code \
	  '/^test result:/ { passed += $$4; failed += $$6; ignored += $$8 } \
	   END { printf "%s  tests: %d passed, %d failed, %d ignored in %d s, exit code %d\n", now, passed, failed, ignored, seconds, code }' "$$log"; \
	exit $$code

simulate: rust build-packages ## simulates groups of workers with faults: N seeds (default 10000), or one with SEED=… and its log
	@$(if $(SEED),SIMULATION_SEED=$(SEED),SIMULATION_RUNS=$(or $(N),10000)) cargo test $(CARGO_FLAGS) --test simulate no_seed -- --nocapture

crash-test: rust ## runs N=… rounds of kills and of broken connections under load against real servers (SEED=…)
	@$(SERVICES)/install.sh
	CRASH_ROUNDS=$${N:-30} CRASH_SEED=$${SEED:-$$(date +%s)} \
	  $(SERVICES)/with_services.sh cargo test --workspace --features failpoints $(CARGO_FLAGS) --test it -- crash:: --nocapture

services: ## starts the test servers with topics, prints a configuration file for them, until Ctrl-C
	@$(SERVICES)/install.sh
	@$(SERVICES)/with_services.sh --print-env

bench: rust ## runs the pipeline benchmarks against real servers
	@$(SERVICES)/install.sh
	$(SERVICES)/with_services.sh cargo bench --bench pipeline $(CARGO_FLAGS)

coverage: rust ## prints the covered lines by room: unit tests alone, tests without a server, all tests
	@$(SERVICES)/install.sh
	@.ci/coverage

docs: rust build-packages ## regenerates docker/data_worker.yml and docs/configuration.md from the code
	cargo build $(CARGO_FLAGS)
	cargo run -q $(CARGO_FLAGS) -- config default >docker/data_worker.yml
	cargo run -q $(CARGO_FLAGS) -- config reference >docs/configuration.md

fmt: rust ## formats the code and updates the file headers
	cargo fmt --all
	.ci/headers.py --write

lint: rust build-packages ## runs clippy
	cargo clippy --workspace --all-targets --features failpoints $(CARGO_FLAGS) -- -D warnings

check: ## runs all checks of the CI
	.ci/run

image: ## builds the image ginkgo-data-worker:VERSION
	docker build $(DOCKER_BUILD_FLAGS) -f docker/Dockerfile -t ginkgo-data-worker:$(WORKER_VERSION) --build-arg VERSION=$(WORKER_VERSION) \
	  --build-arg REVISION=$$(git describe --always --dirty 2>/dev/null || echo unknown) .

certificates: ## makes the certificates of compose.secure.yaml, what is missing of them
	docker/secure/certificates.sh

up: compose image $(COMPOSE_ENV_FILES) $(if $(SECURE),certificates) ## starts four workers and all servers as containers; creates passwords once (SECURE=1: with TLS and logins)
	docker compose up -d --no-build

down: compose ## stops and removes the containers; keeps their data
	docker compose down

scale: compose ## scales to N workers, e.g. `make scale N=6`
	docker compose up -d --no-build --no-recreate --no-deps --scale data-worker=$${N:?is missing, e.g. make scale N=6} data-worker

logs: compose ## follows the logs of the workers
	docker compose logs -f --tail 100 data-worker

test-containers: rust build-packages ## tests the image and the compose files with Docker (HEARTBEAT_MINUTES=10, SECURE=1)
	@$(SERVICES)/install.sh
	@tests/containers/engine.sh tests/containers/run.sh

deny: rust ## checks licenses and sources of all dependencies with deny.toml (cargo install cargo-deny)
	cargo deny check licenses bans sources

clean: ## removes build output and the installed test servers
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

# Packages required to build librdkafka and OpenSSL; installed only if something is missing.
build-packages:
	@if ! { command -v cc && command -v c++ && command -v pkg-config && command -v make && command -v perl && echo '#include <zlib.h>' | cc -E -; } >/dev/null 2>&1; then \
	  command -v apt-get >/dev/null || { echo 'needed: a C and C++ compiler, make, perl, pkg-config, zlib headers' >&2; exit 1; }; \
	  sudo=; if ((EUID)); then sudo=sudo; fi; \
	  $$sudo apt-get update && $$sudo apt-get install -y --no-install-recommends gcc g++ make perl pkg-config zlib1g-dev; \
	fi
