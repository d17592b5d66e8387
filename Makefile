# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: natfleet contributors

# One debug build serves test, demo and lab; one release build serves check and install.
CONFIG ?= debug
KEEP ?=
PARTS ?=
PREFIX ?= /usr
DESTDIR ?=

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

LAB := Tests/Lab/lab
RELEASE := swift build -c release --static-swift-stdlib -Xswiftc -Osize -Xlinker --gc-sections -Xlinker --icf=all -Xlinker --no-export-dynamic
BIN := .build/release
SWIFT_FILES := find Package.swift Sources controller agent Tests -name '*.swift' -print0
SCRIPTS := .ci/run $(filter-out %.awk,$(wildcard scripts/*)) $(wildcard Tests/Lab/lab Tests/Lab/demo Tests/Lab/selftest \
	Tests/Package/run Tests/Package/inspect Tests/Bench/run Tests/Bench/peer Tests/Bench/*.sh deploy/debian/*.p*)
PACKAGES := .build/packages

.PHONY: help setup setup-test build demo test test-package bench lint fmt check imports agent controller lab lab-down man deb release-deb debug-deb install \
	install-controller install-agent clean

help: ## this list
	@echo "usage: make TARGET [CONFIG=release] [KEEP=1] [PREFIX=/usr] [DESTDIR=]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-20s %s\n", $$1, $$2 }' Makefile

setup: ## install missing distribution packages, check the Swift toolchain
	@scripts/setup

setup-test: setup
	@scripts/setup test

build: setup ## build both programs and the tests
	swift build -c $(CONFIG) --build-tests

demo: build ## the whole story in a lab of network namespaces (root); KEEP=1 leaves it running
	@CONFIG=$(CONFIG) KEEP=$(KEEP) Tests/Lab/demo

test: setup-test build ## all tests; as root also those in the kernel and in labs
	@CONFIG=$(CONFIG) scripts/test

test-package: $(CONFIG)-deb ## the packages in Debian booted with systemd, up to a translated packet (root); CONFIG=release for those of `make deb`
	@scripts/setup package
	@Tests/Package/run $(PACKAGES)/$(CONFIG)

bench: agent ## figures of the agent's release build beside plain tools and others' agents (root); CONFIG=release: the controller's too
	@scripts/setup bench
	swift build -c $(CONFIG) --product natfleet
	@Tests/Bench/run $(BIN)/natfleet-agent .build/$(CONFIG)/natfleet $(PARTS)

lint: ## strict swift-format and shellcheck
	$(SWIFT_FILES) | xargs -0 swift format lint --strict --parallel
	@if command -v shellcheck >/dev/null || [ "$${NATFLEET_REQUIRE_KERNEL-}" = 1 ]; then shellcheck -x $(SCRIPTS); \
	else echo "lint: no shellcheck here, scripts not checked"; fi

fmt: ## format all Swift files in place
	$(SWIFT_FILES) | xargs -0 swift format --in-place --parallel

check: setup-test lint imports build agent ## what must hold before a commit: lint, imports, warnings, size of the agent
	@scripts/setup-dnf-test

imports: ## the import rules between folders, and that their check finds violations
	@scripts/check-imports-test
	@scripts/check-imports

agent: setup ## release build of the agent, with its limits checked
	$(RELEASE) --product natfleet-agent
	@scripts/check-agent $(BIN)/natfleet-agent

controller: setup ## release build of the controller and command line
	$(RELEASE) --product natfleet

lab: setup ## a lab by hand (root): a VPC in network namespaces, called `hand`
	@$(LAB) up hand
	@$(LAB) map hand
	@echo "look around: $(LAB) help; enter a host: $(LAB) shell hand HOST; take it down: make lab-down"

lab-down: ## end the lab `hand`
	@$(LAB) down hand

man: build ## manual pages from the help of the built programs, in .build/packages/man
	@scripts/man $(PACKAGES)/man .build/$(CONFIG)/natfleet .build/$(CONFIG)/natfleet-agent

deb: release-deb ## Debian packages of both programs, in .build/packages/release

release-deb: agent controller
	@scripts/setup deb
	@scripts/man $(PACKAGES)/man $(BIN)/natfleet $(BIN)/natfleet-agent
	@scripts/make-deb $(BIN) $(PACKAGES)/release

# These run only where the toolchain's libraries are: for the test of packages.
debug-deb: man
	@scripts/setup deb
	@scripts/make-deb .build/debug $(PACKAGES)/debug

install: install-controller install-agent ## install both programs with units and manual pages, enable nothing

install-controller: controller ## install the controller and command line
	@scripts/man $(PACKAGES)/man $(BIN)/natfleet
	scripts/stage natfleet $(BIN) "$(DESTDIR)" "$(PREFIX)"

install-agent: agent ## install the agent; an /etc/natfleet/agent.conf that is there stays
	@scripts/man $(PACKAGES)/man $(BIN)/natfleet-agent
	scripts/stage natfleet-agent $(BIN) "$(DESTDIR)" "$(PREFIX)"

clean: ## remove everything built
	rm -rf .build
