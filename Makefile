# Sallyport. "make help" lists the targets.

export PATH := /usr/local/go/bin:$(PATH)
export CGO_ENABLED := 0
GO      := go
BUILD   := build
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)
FUZZTIME := 20s
BENCHES := bench-size bench-kernel bench-agent bench-bulk bench-replay bench-rules bench-history bench-parts bench-collector
ONCE    := -run '^$$' -benchtime 1x -timeout 15m

.DEFAULT_GOAL := help
.PHONY: bench-search test-peers help deps deps-test deps-lab build install uninstall package image generate check fmt vet lint drift test test-unit test-e2e test-kubernetes test-lab test-kernels test-systemd test-long fuzz $(BENCHES) bench score run stop clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps: ## Install what building needs (root where something is missing)
	@deploy/install-deps.sh build

deps-test: ## Install what testing needs, the real peers among it
	@deploy/install-deps.sh test
	@collector/account/testdata/op/build.sh

deps-lab: ## Install the peers of "make test-lab" (root); some are built, into build/lab
	@deploy/install-deps.sh lab
	@cmd/e2e/testdata/peers/build.sh $(CURDIR)/$(BUILD)/lab

build: ## Build both binaries into build/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BUILD)/ ./cmd/sallyport ./cmd/sallyport-collector

run: deps build ## Start collector and agent on this host and show a finding (root)
	@deploy/run.sh start

stop: ## End what "make run" started
	@deploy/run.sh stop

clean: stop ## Remove what was built and the state of "make run"
	rm -rf $(BUILD) state

install: ## Install both programs as systemd services (root, after "make build"); PARTS="agent" for one
	@BUILD=$(BUILD) deploy/systemd/install.sh install $(PARTS)

uninstall: ## Take them away again; configuration and state stay
	@BUILD=$(BUILD) deploy/systemd/install.sh uninstall $(PARTS)

package: build ## .deb and .rpm of agent and collector, in build/
	@BUILD=$(BUILD) deploy/packages/build.sh

image: build ## An OCI archive with both programs, in build/
	@BUILD=$(BUILD) deploy/container/image.sh

generate: ## Rebuild the BPF objects and the generated documents
	$(GO) generate ./...
	$(GO) test ./agent/protocol ./rules -run 'Page|Document|Schemas' -update

check: fmt vet drift ## Formatting, vet, generated files

fmt: ## Fail on unformatted files
	@out=$$(gofmt -l agent bpf cmd collector rules); [ -z "$$out" ] || { echo "gofmt -w these:"; echo "$$out"; exit 1; }

vet: ## go vet
	$(GO) vet ./...

drift: ## Fail where a generated file differs from what makes it
	$(GO) test -count=1 ./agent/protocol ./bpf ./rules -run 'Page|Document|Schemas|ObjectsMatch'

test: deps-test check build test-unit test-e2e ## Everything, real peers included (root)

test-unit: ## All packages but the end-to-end tests
	SALLYPORT_TEST_REQUIRE=$${SALLYPORT_TEST_REQUIRE-kernel,peers} $(GO) test -count=1 -timeout 15m $$($(GO) list ./... | grep -v '/cmd/e2e')

test-e2e: ## Agent, collector and real peers in network namespaces (root)
	SALLYPORT_TEST_REQUIRE=$${SALLYPORT_TEST_REQUIRE-kernel,peers} $(GO) test -count=1 -timeout 15m ./cmd/e2e

test-kubernetes: ## Enrolment against a real API server and etcd, which are built first (a quarter of an hour)
	collector/identity/testdata/peers/build.sh
	$(GO) test -count=1 -timeout 30m -v ./cmd/e2e -run Kubernetes

test-peers: ## Exporters against real receivers that are built first (some minutes)
	collector/export/testdata/peers/build.sh
	SALLYPORT_TEST_REQUIRE=receivers $(GO) test -count=1 -timeout 15m ./collector/export -run 'OpenTelemetry|RealS3|Victoria' -v

test-lab: deps-lab ## The long list of real peers, one by one (root)
	SALLYPORT_TEST_LAB=1 SALLYPORT_TEST_TAILSCALE=$(CURDIR)/$(BUILD)/lab SALLYPORT_TEST_REQUIRE=$${SALLYPORT_TEST_REQUIRE-kernel,peers} \
		$(GO) test -count=1 -timeout 60m ./cmd/e2e -run '^TestLab(Link)?$$' -v

test-kernels: ## The kernel tests on Debian's kernels 5.10 to 7, booted by qemu in software (root, long)
	@deploy/install-deps.sh kernels
	SALLYPORT_TEST_KERNELS=1 SALLYPORT_TEST_REQUIRE=peers $(GO) test -count=1 -timeout 8h ./cmd/e2e/kernels -v

test-systemd: ## Install under a real systemd: in a container, then on a machine in software (root; up to an hour)
	@deploy/install-deps.sh systemd
	SALLYPORT_TEST_SYSTEMD=container,machine SALLYPORT_TEST_REQUIRE=$${SALLYPORT_TEST_REQUIRE-kernel,peers} $(GO) test -count=1 -timeout 4h -v ./cmd/e2e/install

bench: $(BENCHES) ## Every benchmark of docs/benchmarks.md, one after the other (root)

bench-size: build
	@stat -c '%n %s bytes' $(BUILD)/sallyport $(BUILD)/sallyport-collector

bench-kernel:
	$(GO) test $(ONCE) -bench . ./bpf

bench-agent:
	$(GO) test $(ONCE) -bench Agent ./cmd/e2e

bench-bulk:
	$(GO) test $(ONCE) -bench Bulk ./cmd/e2e

bench-replay:
	$(GO) test $(ONCE) -bench ReplayBesideNDPI ./cmd/sallyport

bench-rules:
	$(GO) test $(ONCE) -bench Load5M ./rules
	$(GO) test -run '^$$' -benchtime 20000x -bench 'Lookup5M|MatchShipped' ./rules

bench-history:
	SALLYPORT_HISTORY_FLOWS=$${SALLYPORT_HISTORY_FLOWS-500000} $(GO) test $(ONCE) -bench BenchmarkHistory ./agent/history

bench-parts:
	$(GO) test -run '^$$' -bench . ./agent/protocol ./agent/deliver

bench-search: ## Search among SALLYPORT_BENCH_FINDINGS findings (default 1000000) in both stores
	SALLYPORT_BENCH_FINDINGS=$${SALLYPORT_BENCH_FINDINGS-1000000} $(GO) test -run '^$$' -benchtime 1x -timeout 12h -bench Search -v ./collector/store

bench-collector:
	SALLYPORT_BENCH_FINDINGS=$${SALLYPORT_BENCH_FINDINGS-3200} $(GO) test $(ONCE) -bench Ingest ./collector

score: ## Identification against labelled captures: make score CAPTURES=DIR
	@test -n "$(CAPTURES)" || { echo 'usage: make score CAPTURES=DIR (with labels.jsonl in it)'; exit 2; }
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BUILD)/ ./cmd/sallyport
	@# Exit code 1: a capture ends in the middle of a packet; it says so, and the rest counts.
	$(BUILD)/sallyport replay --flows $(CAPTURES) > $(BUILD)/predictions.jsonl || test $$? -eq 1
	$(GO) run ./cmd/score $(CAPTURES) $(BUILD)/predictions.jsonl

# Without a bound on it Go makes each new input smaller for up to a minute, in which it tries nothing new.
fuzz: ## Every fuzz target for FUZZTIME (default 20s) each
	@for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test $$pkg -list '^Fuzz' | grep '^Fuzz'); do \
			echo "== $$pkg $$f"; $(GO) test $$pkg -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x || exit 1; \
		done; \
	done
