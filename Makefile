# Two commands do everything on a fresh machine: `make up` and `make test`.

CARGO ?= cargo
DATA ?= data
PROGRAMS = -p cupola -p cup -p cupola-warden -p cupola-staticfile-server -p cupola-bus

.PHONY: help up build test check tools fmt clippy doc bench-platform bench-bus fuzz clean-data

help:
	@echo "make up              build, start everything, push the sample app, print its URL"
	@echo "make test            install what tests need, then format check, clippy, rustdoc, all tests"
	@echo "make check           the everyday loop: format, clippy and tests that need no root"
	@echo "make fuzz            feed the bus rubbish, FUZZ_SECONDS (600) for each kind of input"
	@echo "make bench-platform  how long starts, pushes and restarts take, and how much memory"
	@echo "make bench-bus       the broker beside genuine nats-servers (BENCH='--quick --case req' for less)"

# --- running ----------------------------------------------------------------------------------------

up: build
	./target/release/cupola up --data-dir $(DATA) --sample examples/static-site

build:
	$(CARGO) build --locked --release $(PROGRAMS)

# --- testing ----------------------------------------------------------------------------------------

# Everything is built at once, so that programs and tests share their dependencies as built.
test: tools fmt clippy doc
	$(CARGO) build --locked --workspace --all-targets
	$(CARGO) nextest run --locked --workspace
	CUPOLA_TEST_BUS=nats-server $(CARGO) nextest run --locked --workspace -E 'binary(e2e)'

check: fmt clippy
	$(CARGO) nextest run --locked --workspace --exclude cupola-tests -E 'not test(/privileged/)'

fmt:
	$(CARGO) fmt --all --check

clippy:
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --document-private-items

tools:
	./.ci/install-test-tools

# What it has found before is replayed by the ordinary tests.
fuzz:
	./bus/fuzz/run

# --- measuring --------------------------------------------------------------------------------------

bench-platform: build
	$(CARGO) run --locked --release -p cupola-bench -- platform

# The peers are installed below target/ when they are missing.
bench-bus:
	$(CARGO) build --locked --release -p cupola-bus -p cupola-bench
	./target/release/cupola-bench bus $(BENCH)
