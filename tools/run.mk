# SPDX-License-Identifier: MIT
# Targets that install, build the module, boot and test.

# Shared by all build directories: what is fetched once. Programs find it through the environment.
PIM_CACHE ?= build/cache
override PIM_CACHE := $(abspath $(PIM_CACHE))
export PIM_CACHE

SAN_BUILD := $(BUILD)/san
SAN_KINDS := address,undefined
CARD ?= cards/paper.card
DIGITS := $(PIM_CACHE)/data/digits.csv.gz
TRAIN_ARGS ?= --compare --target 95
OUT := $(BUILD)/out

# Goals that install first run the rest in a make of its own: before, there may be neither a compiler nor kernel headers to look for.
SUB = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
export PIM_DIGITS = $(DIGITS)
SUITE = tests/run.sh $(BUILD)

.PHONY: deps-test benches tests tests-san modules-checked test-unit test-san test-card test-module test-ioctl test-stress test-drm test-e2e \
	deps-debug-kernel module-debug test-debug-kernel

# The guest's init: static, and never with a sanitizer.
$(BUILD)/pim-init: tools/pim-vm/init.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) -std=c11 -D_GNU_SOURCE $(WARN) -O2 -static $< -o $@

tools: $(BUILD)/pim-init

include kernel/module.mk
include tests/ioctl/ioctl.mk
include tests/kunit/kunit.mk

deps: ## install what is missing to build and run (with apt), fetch guest kernel and data
	@tools/deps.sh

deps-test: ## the same, and what the tests need
	@tools/deps.sh --test

run: deps ## train a CNN on the emulated card in a VM, serial and pipelined
	@echo "run: building"
	+$(Q)$(SUB) tools module
	@mkdir -p $(OUT)
	@echo "run: booting the guest and training there"
	$(Q)$(BUILD)/pim-vm run --card $(CARD) --rw $(OUT) --timeout 600 -- \
		$(BUILD)/pim-train --device drm --data $(DIGITS) --out $(OUT) $(TRAIN_ARGS) $$(test -t 2 && echo --progress bar)

benches: $(BENCHES)

tests: tools $(TESTS) $(BUILD)/tests/pim-ioctl $(BUILD)/tests/pim-fuzz

tests-san:
	+$(Q)$(SUB) BUILD=$(SAN_BUILD) SAN=$(SAN_KINDS) CFLAGS='-O1 -g' $(patsubst $(BUILD)/%,$(SAN_BUILD)/%,$(TESTS))

# Kernels that the driver must build for without a word: Debian's own, and the one of backports.
NEXT_KVER = $(shell cat $(PIM_CACHE)/next/release 2>/dev/null)

test: deps-test ## every test: unit, sanitizers, card, driver in the VM, end to end
	@echo "test: building"
	+$(Q)$(SUB) tests module
	+$(Q)$(SUB) tests-san
	$(Q)$(SUITE) unit san module ioctl drm e2e

test-unit: deps-test ## unit tests, and those of the card model
	+$(Q)$(SUB) tests
	$(Q)$(SUITE) unit

test-san: deps-test ## unit tests with address and undefined-behaviour sanitizers
	+$(Q)$(SUB) tests-san
	$(Q)$(SUITE) san

test-card: deps-test ## the card model's tests alone
	+$(Q)$(SUB) tests
	$(Q)$(SUITE) card

test-module: deps-test ## the driver builds for both kernels without warnings, loads and unloads
	+$(Q)$(SUB) tools
	$(Q)$(SUITE) module

test-ioctl: deps-test ## the driver's ioctl ABI, in the VM
	+$(Q)$(SUB) tests module
	$(Q)$(SUITE) ioctl

test-stress: deps-test ## ten thousand processes killed with everything in use, in the VM (minutes; not in "make test")
	+$(Q)$(SUB) tests module
	$(Q)$(SUITE) stress

test-drm: deps-test ## the device conformance suite on the driver, in the VM
	+$(Q)$(SUB) tests module
	$(Q)$(SUITE) drm

test-e2e: deps-test ## the tools, from the outside
	+$(Q)$(SUB) tests module
	$(Q)$(SUITE) e2e

# The debug kernel: built once into the cache, and used by this target only. PIM_FUZZ_ARGS: the fuzzer's, to run a seed again.
deps-debug-kernel:
	@tools/deps.sh --debug-kernel
	+@tests/debug-kernel/build.sh

DEBUG_KVER = $(shell cat $(PIM_CACHE)/debug/release 2>/dev/null)
module-debug:
	+$(Q)$(SUB) KDIR=$(PIM_CACHE)/debug/lib/modules/$(DEBUG_KVER)/build module kunit-module

test-debug-kernel: deps-debug-kernel ## the driver under KASAN, lockdep, kmemleak and fault injection, with a fuzzer: long (builds a kernel, once)
	+$(Q)$(SUB) tools $(BUILD)/tests/pim-ioctl $(BUILD)/tests/pim-fuzz module-debug
	$(Q)$(SUITE) debug

bench: deps ## measure latency, bandwidth, boot time, training speed
	+$(Q)$(SUB) tools module benches
	$(Q)tests/bench/bench.sh $(BUILD)

install: lib tools ## install into $(DESTDIR)$(PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include/pim $(DESTDIR)$(PREFIX)/share/rt-pim/cards
	install $(TOOLS) $(BUILD)/pim-init $(DESTDIR)$(PREFIX)/bin
	install -m 0644 $(LIB_SO) $(CARD_SO) $(DESTDIR)$(PREFIX)/lib
	ln -sf librt-pim.so.$(VERSION) $(DESTDIR)$(PREFIX)/lib/librt-pim.so.$(SOVERSION)
	ln -sf librt-pim.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib/librt-pim.so
	install -m 0644 include/pim/*.h $(DESTDIR)$(PREFIX)/include/pim
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig
	sed 's,@PREFIX@,$(PREFIX),; s,@VERSION@,$(VERSION),' lib/rt-pim.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/rt-pim.pc
	install -m 0644 cards/*.card $(DESTDIR)$(PREFIX)/share/rt-pim/cards

help: ## list the targets
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo "  BUILD=$(BUILD) PIM_CACHE=$(PIM_CACHE) V=1 SAN= CARD=$(CARD) KDIR=$(KDIR)"
