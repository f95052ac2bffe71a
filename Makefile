# What one does with Redstart, a word each. `make help` lists them.

CARGO ?= cargo
ARGS ?=
FUZZ_SECONDS ?= 30
ROUNDS ?= 500
SEED ?= $(shell date +%s)
HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')

.PHONY: help build run test apps compat bench fuzz soak static lint cross-check

help: ## List what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

build: ## Build the server: target/release/redstart
	$(CARGO) build --release --locked

run: build ## Serve on port 6379 (ARGS="redstart.conf --port 7000" for other flags)
	exec target/release/redstart $(ARGS)

test: ## Build and run all tests; installs redis-server and clients where it can
	tests/prepare
	$(CARGO) test --locked $(ARGS)

apps: ## Run applications from their registries on the server: caches, sessions, job queues, chats (ARGS=django for one)
	tests/prepare
	tests/apps/prepare
	$(CARGO) test --locked --test apps -- $(ARGS)

compat: ## Compare every command with redis-server's, and a million random ones of each family: a table (some twenty minutes)
	$(CARGO) test --release --locked --test compat -- --write docs/compatibility.md $(ARGS)

bench: build ## Measure beside redis-server: a table, Markdown and a chart (some thirty minutes)
	$(CARGO) bench --locked --bench versus -- $(ARGS)

fuzz: ## Fuzz every target for FUZZ_SECONDS (30), from the corpora in fuzz/corpus
	.ci/fuzz $(FUZZ_SECONDS) $(ARGS)

soak: ## Kill the server, let its disk fail and cut its power ROUNDS (500) times; every moment and every call (an hour or more)
	@echo "REDSTART_SEED=$(SEED) repeats this run"
	REDSTART_ROUNDS=$(ROUNDS) REDSTART_SEED=$(SEED) $(CARGO) test --release --locked \
		--test killed --test faults --test power_cut -- --nocapture $(ARGS)

static: ## Build one static file that runs on any Linux: target/static/redstart
	RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) build --release --locked --target $(HOST)
	mkdir -p target/static && cp target/$(HOST)/release/redstart target/static/redstart
	@! ldd target/static/redstart 2>/dev/null | grep '=>' || { echo 'target/static/redstart is not static' >&2; exit 1; }
	@ls -l target/static/redstart

lint: ## Formatting, clippy and documentation without a warning
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --document-private-items

cross-check: ## Type-check for macOS and FreeBSD (Debian only)
	.ci/cross-check
