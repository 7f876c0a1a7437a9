# Longhaul. `make` alone lists what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CARGO ?= cargo
IMAGE ?= localhost/longhaul:dev

.PHONY: help demo cluster build image test scale reference manifests tools fmt lint deny check ci clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## see it work: real objects, both programs, open tunnels; ONCE=1 checks and leaves
	@echo "Building (the first time takes a few minutes)…"
	@$(CARGO) build --quiet --locked --package controller --package proxy --package e2e --bins
	@exec $(CARGO) run --quiet --locked --package e2e --bin demo -- $(if $(filter 1,$(ONCE)),--once)

cluster: ## the same on a real Kubernetes of one node, with the chart, until Ctrl-C; as root, on Debian; ONCE=1 as above
	@e2e/tools.sh cluster
	@echo "Building (the first time takes a few minutes)…"
	@$(CARGO) build --quiet --locked --package e2e --bins
	@exec $(CARGO) run --quiet --locked --package e2e --bin cluster -- up $(if $(filter 1,$(ONCE)),--once)

build: ## build every program
	$(CARGO) build --locked --workspace --bins

image: ## the container image, named IMAGE, with docker, podman or buildah, whichever works here
	@./image.sh build $(IMAGE)

test: ## everything that this machine can run, with real clients and a real Kubernetes; says what it could not. TIERS=A: without a cluster
	@e2e/test.sh $(TIERS)

scale: ## what 10,000 Ingresses and 50,000 endpoints cost, in the release profile
	$(CARGO) build --release --locked --package controller --package proxy --package e2e --bins
	$(CARGO) run --release --locked --package e2e --bin scale

reference: ## write the generated files anew: the CRDs, the tables of the documentation
	$(CARGO) run --locked --quiet --package crds --bin crdgen >crds/wsroutes.yaml.new
	mv crds/wsroutes.yaml.new crds/wsroutes.yaml
	$(CARGO) run --locked --quiet --package crds --bin crdgen wspolicies >crds/wspolicies.yaml.new
	mv crds/wspolicies.yaml.new crds/wspolicies.yaml
	$(CARGO) build --locked --package controller --package proxy --bins
	UPDATE_REFERENCE=1 $(CARGO) test --locked --quiet --package e2e --test reference
	UPDATE_REFERENCE=1 $(CARGO) test --locked --quiet --package translate --test translation coverage
	$(MAKE) manifests

manifests: ## render the chart anew: manifests/, what its tests compare with; needs Go for helm
	@e2e/kube/build.sh helm
	UPDATE_REFERENCE=1 $(CARGO) test --locked --quiet --package e2e --test chart

tools: ## fetch what the tests drive into .cache: clients (npm, pip), Kubernetes and Helm (go); Debian packages as root
	@e2e/tools.sh clients
	@e2e/tools.sh cluster

fmt: ## format the code
	$(CARGO) fmt --all

lint: ## clippy, every warning an error
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

deny: ## licenses, sources and banned crates
	@e2e/tools.sh cargo-deny
	.cache/cargo-deny/bin/cargo-deny --all-features check bans licenses sources

check: lint deny ## format, clippy, deny: what needs no running
	$(CARGO) fmt --all --check

ci: ## what the project's own CI runs
	@.ci/run

clean: ## remove what was built and fetched
	$(CARGO) clean
	rm -rf .cache
