# make demo   the whole story on real servers; DEMO_SECONDS=60, KEEP=1 stays up, PORTS=21000 other ports
# make test   everything: set-up, format, lints, all tests against real servers
# make lint   format and lints
# make mutants  breaks outflow on purpose, a patch at a time, and demands that its tests notice
# make fuzz     feeds what others send to all that reads it; MINUTES=10, TARGET=configuration that one alone, SEED=n
# make chaos  the whole fault suite on real servers (an hour); CASE=F36 that one; SEED=7 MINUTES=10 random faults;
#              QUICK=1 at the pace of make test
# make soak   a long run of HOURS=1: memory, descriptors and threads stay flat; figures in target/soak
# make bench  what a record costs, beside kcat, a bare _bulk loop, Hadoop's client and rsyslog; ONLY=hdfs that part
# make bench-rebalance  how long 1,000 partitions stand still when a member dies, leaves, joins (10 minutes)
# make build  the release binary, target/release/outflow
# make dist   the release: binaries for x86-64 and arm64, SHA256SUMS, in target/archives; ONLY=aarch64 that one
# make deb    the Debian package for this machine, in target/debian
# make image  the container image outflow:VERSION of it, by podman or docker; ENGINE=docker the other one

SHELL := /bin/bash
export PATH := $(PATH):$(HOME)/.cargo/bin
CARGO := cargo
BUILD := $(or $(CARGO_TARGET_DIR),target)

DEMO_SECONDS ?= 60
KEEP ?=
PORTS ?=
CASE ?=
QUICK ?=
HOURS ?= 1
SEED ?=
MINUTES ?=
TARGET ?=
ONLY ?=
export DEMO_SECONDS KEEP PORTS

.PHONY: demo test beside chaos soak lint build image dist deb mutants fuzz bench bench-rebalance setup

demo: build
	@exec $(BUILD)/release/testbed demo

# The tests of one file share one set of servers; files run in two lanes. They wait more than they work: what takes
# only time of the processor runs beside them, when they leave it some. A new machine fetches the servers' files while
# it builds.
# The page is tested in a browser, dashboard and alerts on Prometheus, the image in containers; nothing else needs them.
test: export WITH_BROWSER := 1
test: export WITH_PROMETHEUS := 1
test: export WITH_CONTAINERS := 1
test: lint
	$(CARGO) build --workspace --locked --bin testbed
	@$(BUILD)/debug/testbed fetch & fetch=$$!; $(CARGO) test --workspace --locked --no-run || exit 1; wait $$fetch
	@nice -n 19 $(MAKE) --no-print-directory beside >$(BUILD)/beside.log 2>&1 & beside=$$!; code=0; \
	CARGO=$(CARGO) tests/lanes.sh || code=1; \
	wait $$beside || code=1; echo 'beside these:'; cat $(BUILD)/beside.log; exit $$code

# A minute for each that reads what others send, and some of the mutants: others with each commit. Mutants that a slow
# machine hasn't begun within ten minutes are left to another time, so that nothing waits for them.
beside:
	OUTFLOW_FUZZ_SECONDS=60 $(CARGO) test --locked --test fuzz -- --nocapture
	@MUTANT_TIMEOUT=1500 MUTANT_SECONDS=600 tests/mutants/run.sh --some 8

lint: setup
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

mutants: setup
	@tests/mutants/run.sh

fuzz: setup
	OUTFLOW_FUZZ_SECONDS=$$(( $(or $(MINUTES),10) * 60 )) OUTFLOW_FUZZ_SEED=$(or $(SEED),1) \
	$(CARGO) test --locked --test fuzz -- --nocapture $(TARGET)

# A case shifts outflow's clock with a library that nothing else needs.
chaos: export WITH_FAKETIME := 1
chaos: build
	@exec $(BUILD)/release/testbed chaos $(QUICK:%=--quick) $(CASE:%=--case %) $(SEED:%=--seed %) $(MINUTES:%=--minutes %)

soak: build
	@exec $(BUILD)/release/testbed soak --hours $(HOURS)

# The limits and the peer are other people's programs.
bench: export WITH_BENCH := 1
bench: build
	@exec $(BUILD)/release/testbed bench $(ONLY:%=--only %)

bench-rebalance: build
	@exec $(BUILD)/release/testbed bench-rebalance

build: setup
	$(CARGO) build --release --locked --workspace --bins

dist: setup
	@scripts/dist.sh $(ONLY)

deb: build
	$(CARGO) run --locked --example pages -- $(BUILD)/pages
	$(CARGO) deb --locked --no-build --strip

image: build
	@docker/image.sh $(BUILD)/release/outflow

setup:
	@scripts/setup.sh
