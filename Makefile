# meshgate: what a person needs to build, try, test and package it.
# Everything here needs Go alone unless a target says otherwise.

SHELL   := /bin/bash
VERSION ?= $(shell packaging/version.sh)
BUILD   := VERSION=$(VERSION) packaging/build.sh

.PHONY: all build run test test-arm race check bench soak fuzz cross clean

all: build

build: ## the program for this machine: bin/meshgate
	$(BUILD) bin/meshgate

run: build ## the demo: a simulated network, a simulated LED, a cloud in the process
	bin/meshgate run --demo

# The race detector needs a C compiler; go says 0 where there is none. In CI it has to be there.
RACE = $(if $(CI)$(filter 1,$(shell go env CGO_ENABLED)),-race)

test: ## all tests, under the race detector where there is a C compiler
	go test $(RACE) -timeout 12m ./...

# tests that damage a disk in every way, or play thousands of sessions, take minutes of emulation; one counts on its writer being the faster
ARMSKIP := EveryByte|EveryBit|EveryFailure|RandomDamage|SessionModel
test-arm: ## the packages that count in bytes, as on a Pi Zero: GOARM=6, emulated (qemu-user-static)
	GOARCH=arm GOARM=6 CGO_ENABLED=0 go test -short -timeout 170s -skip '$(ARMSKIP)' -exec 'qemu-arm-static -cpu arm1176' \
	  ./hdlc/... ./smartmesh/... ./bridge/spool ./gateway/config

check: ## what CI checks: format, vet, staticcheck, govulncheck where it can run, tests
	@test -z "$$(gofmt -l cmd gateway hdlc smartmesh gpio bridge)" || { gofmt -l cmd gateway hdlc smartmesh gpio bridge; echo 'run gofmt -w on these'; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	go tool govulncheck ./... || echo 'govulncheck: no database within reach here; not checked'
	$(MAKE) test

bench: ## the figures of docs/benchmarks.md, each beside a peer or a limit in the same run
	go test -run '^$$' -bench . -benchmem ./...

KILLS ?= 1000
soak: ## the gateway killed KILLS times in the midst of its work, and its broker with it; 100,000 messages with the cloud away; thousands of power cuts
	MESHGATE_KILLS=$(KILLS) go test -run '^TestKilled$$' -v -timeout 24h ./cmd/meshgate
	MESHGATE_SOAK=100000 go test -v -timeout 60m -run TestCustody ./cmd/meshgate
	$(MAKE) powercut CUTS=1500 RECORDS=6000

FUZZTIME ?= 30s
fuzz: ## every fuzz test for FUZZTIME
	@for p in $$(go list ./...); do for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
	  echo "== $$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; done; done

cross: ## the programs for the boards: dist/meshgate-{amd64,arm64,armhf}
	GOARCH=amd64 $(BUILD) dist/meshgate-amd64
	GOARCH=arm64 $(BUILD) dist/meshgate-arm64
	GOARCH=arm GOARM=6 $(BUILD) dist/meshgate-armhf

clean:
	rm -rf bin dist

include packaging/packaging.mk
