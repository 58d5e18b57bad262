# FerriteLB. `make help` says what there is.
#
# Every target installs what it lacks: Debian packages by apt-get, Go modules, crates.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TARGET := x86_64-unknown-linux-musl
LAB := target/debug/lab
# The same program as it measures: what runs beside the product must not be slower by its build.
MEASURE := target/$(TARGET)/release/lab
RELEASE := cargo build --release --target $(TARGET) -p ferrite-controller -p ferrite-speaker -p lab \
	--bin ferrite-controller --bin ferrite-speaker --bin podsrv
FUZZ_SECONDS ?= 10

# Says what is being done and how long it took.
define step
	@echo; echo "== $(1)"; SECONDS=0; $(2); echo "== $(1): $${SECONDS} s"
endef

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: demo
demo: binaries ## The product at work on a real Kubernetes with real routers, told with times
	@$(LAB) demo

.PHONY: lab
lab: binaries ## The same lab, left standing to play with
	@$(LAB) up

.PHONY: lab-down
lab-down: $(LAB) ## Removes what `make lab` left standing
	@$(LAB) down

.PHONY: test
test: lint binaries ## Every check there is
	$(call step,unit$(comma) property$(comma) transcript and lab tests,RUST_TEST_THREADS=2 cargo test --workspace --no-fail-fast)
	$(call step,fuzz targets$(comma) $(FUZZ_SECONDS) s each,$(LAB) fuzz --seconds $(FUZZ_SECONDS))

.PHONY: mutants
mutants: $(LAB) ## Breaks each rule of the election in turn and sees a test fail
	@$(LAB) mutants

.PHONY: lint
lint:
	$(call step,format,cargo fmt --check)
	$(call step,clippy,cargo clippy --workspace --all-targets -- -D warnings)
	$(call step,documentation,RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --quiet)

.PHONY: bench
bench: binaries ## Everything that is measured, in short form; ONLY=name for a part, FULL=1 for all samples
	$(call step,the lab program that measures,$(RELEASE) --bin lab)
	@$(MEASURE) bench $(if $(ONLY),--only $(ONLY)) $(if $(FULL),--full)

.PHONY: image
image: binaries ## The container image as an OCI archive, made without an engine
	@$(LAB) image

.PHONY: binaries
binaries: setup ## The release binaries: static, stripped
	$(call step,release binaries,$(RELEASE))

.PHONY: setup
setup: $(LAB)
	@rustup target list --installed | grep -qx $(TARGET) || rustup target add $(TARGET)
	@$(LAB) setup

.PHONY: $(LAB)
$(LAB):
	$(call step,the lab program,cargo build -p lab --bin lab)

.PHONY: generate
generate: ## Writes what is generated from the code: config/crd, manifests/install.yaml
	cargo run -q -p api --bin crdgen

.PHONY: clean
clean: lab-down ## Removes the lab and everything built
	cargo clean

comma := ,
