# The targets of this project; `make help` lists them.

CARGO ?= cargo
ARGS ?=
FUZZ_SECONDS ?= 30
ROUNDS ?= 500
SEED ?= $(shell date +%s)
SEEDS ?= 10000
NODES ?= 3 30 300 1000/7500
SIMULATION = $(CARGO) test --release --locked --manifest-path tests/simulation/Cargo.toml --target-dir target/simulation
HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')

# Where `make install` puts files; DESTDIR precedes all of these paths.
PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
SYSCONFDIR ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system
MANDIR ?= $(PREFIX)/share/man
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
LOGROTATEDIR ?= $(SYSCONFDIR)/logrotate.d
LINKS ?=
TLS ?=
# The file to install: the one in a tarball of `make dist`, or the one that was built.
BINARY ?= $(firstword $(wildcard redstart target/release/redstart target/static/redstart target/static-tls/redstart) target/release/redstart)
ARCHS ?= x86_64 aarch64

TOOLS = $(patsubst deploy/man/redstart-%.1,%,$(wildcard deploy/man/redstart-*.1))
OWN_LINKS = $(addprefix redstart-,$(TOOLS))
COMPLETED = redstart $(OWN_LINKS)
REDIS_LINKS = redis-server $(addprefix redis-,$(filter cli benchmark check-aof check-rdb,$(TOOLS)))

.PHONY: help build run test test-threads test-tls apps compat bench fuzz soak simulate scale static dist install uninstall generate lint cross-check

help: ## List what can be made
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

build: ## Build the server: target/release/redstart
	$(CARGO) build --release --locked

run: build ## Serve on port 6379 (ARGS="redstart.conf --port 7000" for other flags)
	exec target/release/redstart $(ARGS)

test: ## Build and run all tests; installs redis-server and clients where it can
	tests/prepare
	$(CARGO) test --locked $(ARGS)

# What clients see is the same. Left out are tests of exact memory and of what is received but not executed, which threads
# parse earlier.
THREADED := acl blocking clients functions hash_expiry introspection io_threads large_subscriptions limits \
	monitoring protocol scripts server tracking waitaof
test-threads: ## Run the tests of what clients see against servers with three I/O threads
	REDSTART_IO_THREADS=4 $(CARGO) test --locked $(addprefix --test ,$(THREADED))

test-tls: ## Run the tests of TLS and of directives, with a build that has it
	$(CARGO) test --locked --features tls --no-run --test config_defaults --test tls
	$(CARGO) test --locked --features tls --test config_defaults
	$(CARGO) test --locked --features tls --test tls -- $(ARGS)

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

soak: ## Kill the server, replicas and nodes of a cluster, fail its disk, cut its power, send random commands from 24 clients, ROUNDS (500) times each (some hours)
	@echo "REDSTART_SEED=$(SEED) repeats this run"
	REDSTART_ROUNDS=$(ROUNDS) REDSTART_SEED=$(SEED) $(CARGO) test --release --locked \
		--test killed --test faults --test power_cut --test storm -- --nocapture $(ARGS)
	REDSTART_ROUNDS=$(ROUNDS) REDSTART_SEED=$(SEED) $(CARGO) test --release --locked --test replication --test cluster -- \
		--nocapture chaos
	REDSTART_SEED= $(MAKE) simulate SEEDS=$(SEED)+$$(($(ROUNDS) * 200))
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address $(CARGO) build --locked --no-default-features \
		--target $(HOST) --target-dir target/sanitized
	REDSTART_BIN=$(CURDIR)/target/sanitized/$(HOST)/debug/redstart REDSTART_ROUNDS=$(ROUNDS) REDSTART_SEED=$(SEED) \
		$(CARGO) test --release --locked --test storm

simulate: ## Simulate clusters under SEEDS (10000) seeds of faults; REDSTART_SEED=n repeats one
	REDSTART_SEEDS=$(SEEDS) $(SIMULATION) cluster::simulation::faults -- --nocapture

scale: ## Simulate clusters of NODES ("3 30 300 1000/7500", each with its interval of PINGs): a table
	REDSTART_NODES="$(NODES)" $(SIMULATION) cluster::simulation::scale -- --nocapture

static: ## Build one static file that runs on any Linux: target/static/redstart; with TLS=1, target/static-tls/redstart
	deploy/build $(HOST) target/static$(if $(TLS),-tls,) $(if $(TLS),tls,)
	@ls -l target/static$(if $(TLS),-tls,)/redstart

dist: ## Build static files for ARCHS (x86_64 aarch64), without and with TLS, and pack them: target/dist/*.tar.gz with their sums
	for arch in $(ARCHS); do for tls in "" tls; do \
		deploy/build $$arch-unknown-linux-gnu target/dist/$$arch$${tls:+-$$tls} $$tls && \
		deploy/pack target/dist/$$arch$${tls:+-$$tls} $$arch target/dist $${tls:+-$$tls} || exit 1; \
	done; done
	cd target/dist && sha256sum *.gz >SHA256SUMS && ls -l

install: ## Install what was built: PREFIX (/usr/local), DESTDIR, LINKS=1 for names of Redis (redis-cli, ...)
	@test -x $(BINARY) || { echo "$(BINARY) is missing: 'make build' first" >&2; exit 1; }
	install -d $(addprefix $(DESTDIR),$(BINDIR) $(SYSCONFDIR)/redstart $(UNITDIR) $(MANDIR)/man1 $(MANDIR)/man5 \
		$(BASHDIR) $(ZSHDIR) $(FISHDIR) $(LOGROTATEDIR))
	install -m 0755 $(BINARY) $(DESTDIR)$(BINDIR)/redstart
	for name in $(OWN_LINKS) $(if $(LINKS),$(REDIS_LINKS)); do ln -sf redstart $(DESTDIR)$(BINDIR)/$$name || exit 1; done
	install -m 0644 deploy/man/*.1 $(DESTDIR)$(MANDIR)/man1/
	install -m 0644 deploy/man/*.5 $(DESTDIR)$(MANDIR)/man5/
	install -m 0644 $(addprefix deploy/completions/,$(COMPLETED)) $(DESTDIR)$(BASHDIR)/
	install -m 0644 $(addprefix deploy/completions/_,$(COMPLETED)) $(DESTDIR)$(ZSHDIR)/
	install -m 0644 $(addsuffix .fish,$(addprefix deploy/completions/,$(COMPLETED))) $(DESTDIR)$(FISHDIR)/
	sed 's|@BINDIR@|$(BINDIR)|; s|@SYSCONFDIR@|$(SYSCONFDIR)|' deploy/redstart.service \
		>$(DESTDIR)$(UNITDIR)/redstart.service
	chmod 0644 $(DESTDIR)$(UNITDIR)/redstart.service
	test -e $(DESTDIR)$(SYSCONFDIR)/redstart/redstart.conf || \
		install -m 0644 redstart.conf $(DESTDIR)$(SYSCONFDIR)/redstart/redstart.conf
	test -e $(DESTDIR)$(LOGROTATEDIR)/redstart || install -m 0644 deploy/logrotate $(DESTDIR)$(LOGROTATEDIR)/redstart

uninstall: ## Remove what `make install` has put there, but a configuration that was changed
	rm -f $(addprefix $(DESTDIR)$(BINDIR)/,redstart $(OWN_LINKS))
	for name in $(REDIS_LINKS); do \
		[ "$$(readlink $(DESTDIR)$(BINDIR)/$$name)" != redstart ] || rm -f $(DESTDIR)$(BINDIR)/$$name; \
	done
	rm -f $(addprefix $(DESTDIR)$(MANDIR)/man1/,$(notdir $(wildcard deploy/man/*.1)))
	rm -f $(addprefix $(DESTDIR)$(MANDIR)/man5/,$(notdir $(wildcard deploy/man/*.5)))
	rm -f $(addprefix $(DESTDIR)$(BASHDIR)/,$(COMPLETED)) $(addprefix $(DESTDIR)$(ZSHDIR)/_,$(COMPLETED)) \
		$(addsuffix .fish,$(addprefix $(DESTDIR)$(FISHDIR)/,$(COMPLETED)))
	rm -f $(DESTDIR)$(UNITDIR)/redstart.service
	! cmp -s redstart.conf $(DESTDIR)$(SYSCONFDIR)/redstart/redstart.conf || \
		rm -f $(DESTDIR)$(SYSCONFDIR)/redstart/redstart.conf
	! cmp -s deploy/logrotate $(DESTDIR)$(LOGROTATEDIR)/redstart || rm -f $(DESTDIR)$(LOGROTATEDIR)/redstart
	rmdir $(DESTDIR)$(SYSCONFDIR)/redstart 2>/dev/null || true

generate: ## Write anew what is made from tables: docs/{configuration,commands}.md, deploy/man, deploy/completions; and line numbers in docs/
	REDSTART_WRITE_DOCS=1 $(CARGO) test --locked --lib document::
	REDSTART_WRITE_DOCS=1 $(CARGO) test --locked --test docs
	REDSTART_WRITE_DOCS=1 $(CARGO) test --locked --test deploy -- generated::the_manual generated::completions

lint: ## Formatting, clippy and documentation without a warning
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --features tls -- -D warnings
	$(CARGO) clippy --locked --test apps --test compat -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --document-private-items

cross-check: ## Type-check for macOS and FreeBSD (Debian only)
	.ci/cross-check
