# make demo   the whole story on real servers; DEMO_SECONDS=60, KEEP=1 stays up, PORTS=21000 other ports
# make test   everything: set-up, format, lints, all tests against real servers
# make lint   format and lints
# make chaos  the whole fault suite on real servers (an hour); CASE=F36 that one; SEED=7 MINUTES=10 random faults
# make soak   a long run of HOURS=1: memory, descriptors and threads stay flat; figures in target/soak
# make mutants  breaks the pipeline on purpose and demands that its tests notice (slow)
# make bench-rebalance  how long 1,000 partitions stand still when a member dies, leaves, joins (10 minutes)
# make build  the release binary, target/release/outflow

SHELL := /bin/bash
export PATH := $(PATH):$(HOME)/.cargo/bin
CARGO := cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)

DEMO_SECONDS ?= 60
KEEP ?=
PORTS ?=
CASE ?=
HOURS ?= 1
SEED ?=
MINUTES ?=
export DEMO_SECONDS KEEP PORTS

.PHONY: demo chaos soak test lint build mutants bench-rebalance setup

demo: build
	@exec $(TARGET)/release/testbed demo

# The tests of one file share one set of servers and take turns on it; files run one after another.
test: lint
	$(CARGO) test --workspace --locked --no-fail-fast

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

mutants: setup
	@tests/mutants/run.sh

# A case shifts outflow's clock with a library that nothing else needs.
chaos: export WITH_FAKETIME := 1
chaos: build
	@exec $(TARGET)/release/testbed chaos $(CASE:%=--case %) $(SEED:%=--seed %) $(MINUTES:%=--minutes %)

soak: build
	@exec $(TARGET)/release/testbed soak --hours $(HOURS)

bench-rebalance: build
	@exec $(TARGET)/release/testbed bench-rebalance

build: setup
	$(CARGO) build --release --locked --workspace --bins

setup:
	@scripts/setup.sh
