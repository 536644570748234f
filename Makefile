# duplex: `make demo` boots Linux, `make test` tests everything, `make help` lists the rest.

TARGET   := target/x86_64-unknown-linux-gnu
DUPLEX   := $(TARGET)/release/duplex
# Each is one of Debian's: the linker and C library that Rust links with, the testbed's machine, and
# what networks are made and tested with.
PACKAGES := gcc libc6-dev qemu-system-x86 e2fsprogs iproute2 nftables passt iperf3

.PHONY: help demo test soak fuzz lint build packages guest-images tuned-kernel clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

demo: packages build ## Boot Linux and show what it sees (fetches Debian's kernel once, 27 MB)
	$(DUPLEX) boot --cpus 2

test: packages guest-images ## Test everything (builds the tuned kernel once, 5 to 9 minutes)
	cargo test

soak: packages guest-images ## The long lists: a hundred boots, random kills, full matrices
	@.ci/install mmdebstrap
	DUPLEX_SOAK=1 cargo test --test linux --test leftovers --test testbed_lifetime -- --nocapture

fuzz: ## Fuzz the loader, then virtio registers, a disk, a network and sockets, for SECONDS each (default 600)
	command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz
	mkdir -p fuzz/corpus/kernel
	RUSTC_BOOTSTRAP=1 cargo fuzz run kernel fuzz/corpus/kernel fuzz/seeds -- \
		-max_total_time=$(or $(SECONDS),600) -max_len=16384 -timeout=10
	mkdir -p fuzz/corpus/virtio_mmio
	RUSTC_BOOTSTRAP=1 cargo fuzz run virtio_mmio fuzz/corpus/virtio_mmio -- \
		-max_total_time=$(or $(SECONDS),600) -max_len=512 -timeout=10
	mkdir -p fuzz/corpus/virtio_blk
	@# LeakSanitizer takes what glibc keeps for the exit of running threads for leaks.
	RUSTC_BOOTSTRAP=1 cargo fuzz run virtio_blk fuzz/corpus/virtio_blk -- \
		-max_total_time=$(or $(SECONDS),600) -max_len=1024 -timeout=10 \
		-detect_leaks=0
	mkdir -p fuzz/corpus/virtio_net
	RUSTC_BOOTSTRAP=1 cargo fuzz run virtio_net fuzz/corpus/virtio_net -- \
		-max_total_time=$(or $(SECONDS),600) -max_len=1024 -timeout=10 \
		-detect_leaks=0
	mkdir -p fuzz/corpus/virtio_vsock
	RUSTC_BOOTSTRAP=1 cargo fuzz run virtio_vsock fuzz/corpus/virtio_vsock -- \
		-max_total_time=$(or $(SECONDS),600) -max_len=1024 -timeout=10 \
		-detect_leaks=0

lint: ## Formatting and lints, as CI checks them
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

build: ## Build the release binary
	cargo build --release

packages: ## Install the Debian packages that are missing (asks first if that takes sudo)
	@.ci/install $(PACKAGES)

guest-images: packages ## Fetch Debian's kernels and build the tuned one, unless cached
	cargo run --example guest-images -- debian-6.1 debian-6.12 tuned tools

tuned-kernel: packages ## Build the tuned kernel, unless cached
	cargo run --example guest-images -- tuned

clean: ## Remove what was built here (the cache in ~/.cache/duplex stays)
	cargo clean
