# Everything a developer or a newcomer types. `make help` lists it.

SHELL := bash
PORT ?= 8080
SITE ?=
# How long `make test` and `make fuzz` try each fuzz target, in seconds.
FUZZ_SECONDS ?= 5
export PORT SITE

.PHONY: help run test install-packages fmt bench fuzz doc

help: ## List these words
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 18

run: ## Try kvs behind a private Apache: make run PORT=8080, SITE=dir to keep the data
	@exec deploy/run.sh

test: install-packages ## Every check: format, lints, tests, documents, a short fuzz
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo test --locked --all-targets
	cargo test --locked --doc
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	fuzz/run.sh $(FUZZ_SECONDS)
	@echo 'make test: every check has passed'

install-packages: ## Install the Debian packages that the tests need, if any is missing
	@tests/packages.sh

fmt: ## Bring the source into shape
	cargo fmt

bench: ## Measure
	cargo bench --locked

fuzz: ## Try the fuzz targets for longer: make fuzz FUZZ_SECONDS=600
	fuzz/run.sh $(FUZZ_SECONDS)

doc: ## Build the library's documents and say where they are
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	@echo "$${CARGO_TARGET_DIR:-target}/doc/kvs/index.html"
