# SPDX-License-Identifier: Apache-2.0
#
# `make help` lists the targets. Each first sees to what it needs from the
# system (test/deps.sh); tools written in Go come, pinned, from the module proxy.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
# A device asks one question after the other: HTTP/2 would only lie in its memory.
DEVICE_TAGS := nethttpomithttp2

# What to bench, how long to fuzz each target, how long one package's tests may take.
BENCH ?= .
BENCHTIME ?= 1s
FUZZTIME ?= 10s
TIMEOUT ?= 12m

# `auto` lets lint pass, and say so, where the vulnerability database cannot be
# reached; `require` does not.
VULNCHECK ?= auto

CACHE := $(CURDIR)/.cache
GOLANGCI_VERSION := v2.15.0
GOLANGCI := $(CACHE)/bin/golangci-lint-$(GOLANGCI_VERSION)/golangci-lint
GOVULNCHECK_VERSION := v1.9.0
GOVULNCHECK := $(CACHE)/bin/govulncheck-$(GOVULNCHECK_VERSION)/govulncheck
# Later versions need modules that the module proxy does not serve.
NFPM_VERSION := v2.44.1
NFPM := $(CACHE)/bin/nfpm-$(NFPM_VERSION)/nfpm

# Every file of the project, whether git knows it yet or not.
FILES := find . \( -name .git -o -name .cache -o -name node_modules -o -path ./bin -o -path ./dist \) -prune -o -type f

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## every program, static and stripped, in bin/
	@test/deps.sh build
	mkdir -p bin
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -tags '$(DEVICE_TAGS)' -o bin/ $(filter-out %/accountlock-server/,$(wildcard ./cmd/*/))
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/accountlock-server

.PHONY: demo
demo: build ## walk the whole story on a private bus, with no input
	@test/deps.sh demo
	PATH='$(CURDIR)/bin':"$$PATH" test/demo/demo.sh

.PHONY: play
play: build ## the demo's set-up with a shell in it
	@test/deps.sh demo
	PATH='$(CURDIR)/bin':"$$PATH" test/demo/demo.sh --play

# The suites under test/ run the real programs, so bin/ comes first. Results are
# never taken from go's cache, which does not see what a started program reads.
.PHONY: test
test: build ## every test, with the race detector
	@test/deps.sh test
	@[ "$$(id -u)" = 0 ] || echo 'NOT ROOT: the tests that need polkitd or other users are skipped'
	@mkdir -p '$(CACHE)'
	ACCOUNTLOCK_BIN='$(CURDIR)/bin' CGO_ENABLED=1 \
		go test -race -vet=off -count=1 -shuffle=on -timeout $(TIMEOUT) ./... 2>&1 | tee '$(CACHE)/test.log'
	@awk '/^ok / && !/no tests to run/ { ran = 1 } END { exit !ran }' '$(CACHE)/test.log' || { echo 'make test: no test ran' >&2; exit 1; }

.PHONY: test-postgres
test-postgres: ## the account service's tests once more, on PostgreSQL
	@test/deps.sh test
	ACCOUNTLOCK_TEST_DB=postgres go test -vet=off -count=1 -timeout $(TIMEOUT) ./internal/service/...

.PHONY: lint
lint: format-check $(GOLANGCI) vulncheck ## formatting, vet, golangci-lint, govulncheck, shellcheck
	@test/deps.sh lint
	go vet ./...
	$(GOLANGCI) config verify
	$(GOLANGCI) run ./...
	@echo shellcheck; $(FILES) -print0 | xargs -0 awk 'FNR == 1 { if (/^#!.*[ \/](ba|da)?sh( |$$)/) print FILENAME; nextfile }' | xargs -r shellcheck -x

.PHONY: format-check
format-check:
	@unformatted=$$($(FILES) -name '*.go' -print0 | xargs -0 -r gofmt -l); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w would change:"; echo "$$unformatted"; exit 1; fi

.PHONY: vulncheck
vulncheck: $(GOVULNCHECK)
	@echo govulncheck ./...; \
	if out=$$($(GOVULNCHECK) ./... 2>&1); then echo "$$out"; \
	elif [ '$(VULNCHECK)' = auto ] && grep -q '^govulncheck: fetching vulnerabilities:' <<<"$$out"; then \
		echo "NOT CHECKED for known vulnerabilities; the database cannot be reached (VULNCHECK=require makes this an error):"; \
		grep '^govulncheck:' <<<"$$out"; \
	else echo "$$out"; exit 1; fi

$(GOLANGCI):
	GOBIN='$(@D)' go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

$(GOVULNCHECK):
	GOBIN='$(@D)' go install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)

.PHONY: faults
faults: build ## every fault of network, clock and service, and how soon each is told (root: network namespaces)
	@test/deps.sh test
	ACCOUNTLOCK_BIN='$(CURDIR)/bin' go test -count=1 -v ./test/faults | grep -E '^[A-Za-z-]* +[0-9]+ ms|^(ok|FAIL|---)'

.PHONY: bench
bench: build ## the figures: every benchmark beside its peer or floor (BENCH=regexp, BENCHTIME=1s)
	@test/deps.sh test
	ACCOUNTLOCK_BIN='$(CURDIR)/bin' go test -p 1 -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem -timeout 60m ./...

# About an hour on two cores, and 30 GB in TMPDIR.
SCALE ?= 1000,100000,10000000

.PHONY: scale
scale: ## statements and sign-ins among up to ten million devices, beside their floors, on both databases (SCALE=sizes)
	@test/deps.sh test scale
	ACCOUNTLOCK_SCALE='$(SCALE)' go test -count=1 -timeout 6h -v ./test/scale
	ACCOUNTLOCK_TEST_DB=postgres ACCOUNTLOCK_SCALE='$(SCALE)' go test -count=1 -timeout 6h -v ./test/scale

.PHONY: fuzz
fuzz: ## every fuzz target for a while (FUZZTIME=10s)
	@test/deps.sh build
	@test/fuzz.sh $(FUZZTIME)

.PHONY: powercuts
powercuts: ## the power cut at every moment of every operation, on every medium
	@test/deps.sh build
	ACCOUNTLOCK_POWERCUTS=all go test -v -timeout $(TIMEOUT) -run 'PowerCut|Torn' ./internal/record | grep -v '^=== '

# The programs are built to count too; those that the suites start and end
# politely add to the figures.
.PHONY: cover
cover: ## what the tests reach, with the programs the suites start
	@test/deps.sh test
	rm -rf '$(CACHE)/cover'
	mkdir -p '$(CACHE)/cover/bin' '$(CACHE)/cover/tests' '$(CACHE)/cover/programs'
	CGO_ENABLED=0 go build -cover -coverpkg=./cmd/...,./internal/... -o '$(CACHE)/cover/bin/' ./cmd/...
	ACCOUNTLOCK_BIN='$(CACHE)/cover/bin' GOCOVERDIR='$(CACHE)/cover/programs' \
		go test -vet=off -count=1 -timeout $(TIMEOUT) -coverpkg=./cmd/...,./internal/... ./... -args -test.gocoverdir='$(CACHE)/cover/tests'
	go tool covdata textfmt -i='$(CACHE)/cover/tests,$(CACHE)/cover/programs' -o '$(CACHE)/cover/all.out'
	grep -v '\.gen\.go:' '$(CACHE)/cover/all.out' >'$(CACHE)/cover/cover.out'
	go tool cover -func '$(CACHE)/cover/cover.out' | tail -n 1
	@echo "line by line: go tool cover -html .cache/cover/cover.out"

.PHONY: generate
generate: ## write the generated files again
	@test/deps.sh build
	go generate ./...

.PHONY: check-generated
check-generated: ## fail if a generated file is not what generating makes
	@mkdir -p '$(CACHE)'
	@$(FILES) -print0 | sort -z | xargs -0 sha256sum >'$(CACHE)/before.sums'
	@$(MAKE) --no-print-directory generate
	@$(FILES) -print0 | sort -z | xargs -0 sha256sum >'$(CACHE)/after.sums'
	@diff '$(CACHE)/before.sums' '$(CACHE)/after.sums' || { echo 'the files above were stale: commit what is there now'; exit 1; }

$(NFPM):
	GOBIN='$(@D)' go install github.com/goreleaser/nfpm/v2/cmd/nfpm@$(NFPM_VERSION)

.PHONY: install
install: ## put what `make build` made into DESTDIR (PART=device, kiosk or server)
	packaging/install.sh '$(or $(PART),device)' '$(DESTDIR)/'

.PHONY: packages
packages: build $(NFPM) ## .deb, .rpm and .apk in dist/, held against lintian
	@test/deps.sh packages
	VERSION='$(VERSION)' packaging/packages.sh '$(NFPM)' dist
	lintian --fail-on error,warning --tag-display-limit 0 --allow-root dist/*.deb

BOOT = ACCOUNTLOCK_BIN='$(CURDIR)/bin' ACCOUNTLOCK_PACKAGES='$(CURDIR)/dist' ACCOUNTLOCK_BOOT_CACHE='$(CACHE)/boot' go test -vet=off -count=1 -v

.PHONY: boot-test
boot-test: packages ## real systems that boot with the packages (RUN=regexp)
	@test/deps.sh boot
	ACCOUNTLOCK_BOOT=full $(BOOT) -timeout 90m -parallel 2 -run '$(RUN)' ./test/boot

.PHONY: boot-test-fast
boot-test-fast: packages ## the part of it that needs no virtual machine (RUN=regexp)
	@test/deps.sh boot
	ACCOUNTLOCK_BOOT=fast $(BOOT) -timeout 20m -parallel 2 -run '$(RUN)' ./test/boot

# In turn without and with accountlock, BOOTS times each; the container needs no
# minutes and is less noisy, the machine has a kernel, disks and udev of its own.
BOOTS ?= 5
.PHONY: boot-bench
boot-bench: packages ## what accountlock costs the boot of an open device, beside the same image without it (BOOTS=5, RUN=Container|VirtualMachine)
	@test/deps.sh boot
	ACCOUNTLOCK_BOOT=full $(BOOT) -timeout 90m -run '^$$' -bench 'Boot/$(RUN)' -benchtime $(BOOTS)x ./test/boot

.PHONY: clean
clean: ## remove what was built; fetched tools stay
	rm -rf bin dist
