# Everything a developer or a newcomer types. `make help` lists it.

SHELL := bash
PORT ?= 8080
SITE ?=
# How long `make test` and `make fuzz` try each fuzz target, in seconds.
FUZZ_SECONDS ?= 5
# The targets of `make test`. The others compare kvs with other YAML readers and with a model of base paths, which differ
# from it where nobody is harmed.
SHORT_FUZZ := conditions data_recovery fastcgi http_head json_bodies log_recovery model queries service yaml
export PORT SITE

.PHONY: help run host dist check test test-cluster soak install-packages fmt bench fuzz doc

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

run: ## Try kvs behind a private Apache: make run PORT=8080, SITE=dir to keep the data
	@exec deploy/run.sh

DIR =

host: ## Make a folder to upload to a shared host: make host DIR=my-site
	@test -n '$(DIR)' || { echo 'make host: name the folder, as in make host DIR=my-site' >&2; exit 2; }
	cargo build --locked --release
	"$${CARGO_TARGET_DIR:-target}/release/kvs" init '$(DIR)'

dist: ## Build the files of a release in the folder dist: programs, a Debian package, SHA256SUMS
	@deploy/dist.sh

# Left out of `make check`: what needs PostgreSQL or other servers, and the tests that take long.
SLOW := postgres histories:: faults:: regression:: person:: crash:: processes:: examples:: hooks:: polls:: copy:: under_fcgid:: waiting:: costs::

check: ## The fast checks, after each edit: format, lints, unit tests, integration tests on memory and YAML files
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked --quiet --lib
	cargo test --locked --quiet --test it -- --test-threads 8 $(SLOW:%=--skip %)
	@echo 'make check: every fast check has passed; make test runs all'

test: install-packages ## Every check: format, lints, tests, documents, a short fuzz, the release files
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo fmt --check --manifest-path bench/Cargo.toml
	cargo clippy --locked --manifest-path bench/Cargo.toml --target-dir target -- -D warnings
	cargo check --locked --lib --no-default-features
	cargo test --locked --all-targets
	cargo test --locked --doc
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --features test-suite
	fuzz/run.sh $(FUZZ_SECONDS) $(SHORT_FUZZ)
	deploy/dist.sh quick
	@echo 'make test: every check has passed'

URL =
DISTRIBUTED =

test-cluster: ## The tests of all stores on your own PostgreSQL or cluster: make test-cluster URL=postgresql://... DISTRIBUTED=1
	@test -n '$(URL)' || { echo 'make test-cluster: name the server, as in URL=postgresql://kvs@db/kvs' >&2; exit 2; }
	CLUSTER_URL='$(URL)' $(if $(DISTRIBUTED),CLUSTER_DISTRIBUTED=1) \
		cargo test --locked --test it -- --test-threads 4 ::postgresql --skip as_distributed

MINUTES ?= 30

soak: install-packages ## The tests that search for lost writes, for longer: make soak MINUTES=30
	tests/soak.sh $(MINUTES)

install-packages: ## Install the Debian packages that the tests need, if any is missing
	@tests/packages.sh

fmt: ## Format the source
	cargo fmt

# ONLY names parts, as in ONLY="http cgi"; with QUICK=1 the figures are worth little.
ONLY ?=
QUICK ?=

bench: ## Measure kvs and other programs, 20 minutes: make bench ONLY="http cgi", QUICK=1
	tests/packages.sh bench
	cargo build --locked --release --target-dir target
	cargo build --locked --release --manifest-path bench/Cargo.toml --target-dir target
	target/release/kvs-bench $(if $(QUICK),--quick) $(ONLY)

fuzz: ## Try the fuzz targets for longer: make fuzz FUZZ_SECONDS=600
	fuzz/run.sh $(FUZZ_SECONDS)

doc: ## Build the documentation of the library
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --features test-suite
	@echo "$${CARGO_TARGET_DIR:-target}/doc/kvs/index.html"
