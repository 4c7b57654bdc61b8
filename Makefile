# SPDX-License-Identifier: MIT
# rt-pim: "make run" trains a CNN on the emulated card in a VM, "make test" runs every test, "make help" lists the rest.

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
V ?= 0
SAN ?=

VERSION := 0.1.0
SOVERSION := 0

Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-8s%s\n' '$(1)' '$(2)';)

CC ?= cc
CFLAGS ?= -O2 -g
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
# -ffp-contract=off: the ISA rounds the product and the sum of MAC and MAD, so no compiler may fuse them.
PIM_CFLAGS = -std=c11 -D_GNU_SOURCE $(WARN) -fPIC -fvisibility=hidden -ffp-contract=off -MMD -MP -Iinclude -Iinclude/uapi -Ilib \
	-I$(BUILD)/gen -I/usr/include/libdrm $(CFLAGS) $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all -DPIM_SANITIZE)
PIM_LDFLAGS = $(LDFLAGS) $(if $(SAN),-fsanitize=$(SAN))

# -- what is built from what --------------------------------------------------------------------------------------------
# The card model: a library of its own, so that librt-pim does not pull oneDNN into a guest that only needs the drm backend.
CARD_SRC := $(wildcard tools/pim-emu/card*.c)
EMU_SRC := $(filter-out $(CARD_SRC),$(wildcard tools/pim-emu/*.c))
LIB_SRC := $(wildcard lib/*.c)
ASM_SRC := lib/asm.c lib/asm_isa.c lib/dis.c lib/error.c
KERNELS := $(sort $(wildcard lib/kernels/*.pim))
TEST_SRC := $(wildcard tests/unit/test_*.c)

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
CARD_LIBS := -ldnnl -lm -lpthread -fopenmp
LIB_LIBS := -ldrm -lnuma -ljson-c -lz -ldl -lm -lpthread

CARD_SO := $(BUILD)/libpimcard.so
LIB_SO := $(BUILD)/librt-pim.so.$(VERSION)
TOOLS := $(addprefix $(BUILD)/,pim-emu pim-vm pim-train pimas)
TESTS := $(patsubst tests/unit/%.c,$(BUILD)/tests/%,$(TEST_SRC))

.DEFAULT_GOAL := all
.PHONY: all lib tools module run test bench clean help deps install FORCE
.DELETE_ON_ERROR:
.SECONDARY:

all: deps
	$(Q)$(MAKE) --no-print-directory tools module

lib: $(BUILD)/librt-pim.so $(CARD_SO)
tools: lib $(TOOLS)

# -fno-math-errno: a square root is an instruction then, and its loop a vector loop.
$(BUILD)/obj/tools/pim-emu/card%.o: PIM_CFLAGS += -O3 -fopenmp -fno-math-errno
$(BUILD)/obj/lib/kernel.o: $(BUILD)/gen/kernels.h
# Object files depend on the flags they were made with.
$(BUILD)/obj/.flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(PIM_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(PIM_CFLAGS)' > $@

$(BUILD)/obj/%.o: %.c $(BUILD)/obj/.flags
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(PIM_CFLAGS) -c $< -o $@

$(CARD_SO): $(call obj,$(CARD_SRC))
	$(call say,LD,$@)$(CC) -shared -Wl,-soname,libpimcard.so $(PIM_LDFLAGS) $^ $(CARD_LIBS) -o $@

$(LIB_SO): $(call obj,$(LIB_SRC)) lib/librt-pim.map
	$(call say,LD,$@)$(CC) -shared -Wl,-soname,librt-pim.so.$(SOVERSION) -Wl,--version-script=lib/librt-pim.map -Wl,-z,defs -Wl,-rpath,'$$ORIGIN' $(PIM_LDFLAGS) $(filter %.o,$^) $(LIB_LIBS) -o $@

$(BUILD)/librt-pim.so: $(LIB_SO)
	$(Q)ln -sf librt-pim.so.$(VERSION) $(BUILD)/librt-pim.so.$(SOVERSION)
	$(Q)ln -sf librt-pim.so.$(SOVERSION) $@

$(BUILD)/librt-pim.a: $(call obj,$(LIB_SRC))
	$(call say,AR,$@)rm -f $@ && $(AR) rcs $@ $^

# Programs find the libraries next to themselves.
RPATH := -Wl,-rpath,'$$ORIGIN:$$ORIGIN/../lib' -L$(BUILD)

$(BUILD)/pim-emu: $(call obj,$(EMU_SRC)) $(CARD_SO)
	$(call say,LD,$@)$(CC) $(PIM_LDFLAGS) $(call obj,$(EMU_SRC)) $(RPATH) -lpimcard -lpthread -o $@

$(BUILD)/pimas: $(BUILD)/obj/tools/pimas.o $(call obj,$(ASM_SRC))
	$(call say,LD,$@)$(CC) $(PIM_LDFLAGS) $^ -o $@

$(BUILD)/gen/kernels.h: $(KERNELS) $(BUILD)/pimas
	@mkdir -p $(@D)
	$(call say,PIMAS,$@)$(BUILD)/pimas --header $@ $(KERNELS)

$(BUILD)/pim-train: $(call obj,$(wildcard tools/pim-train/*.c)) $(BUILD)/librt-pim.so
	$(call say,LD,$@)$(CC) $(PIM_LDFLAGS) $(filter %.o,$^) $(RPATH) -lrt-pim -lsmartcols -lm -lpthread -o $@

$(BUILD)/pim-vm: $(call obj,$(filter-out tools/pim-vm/init.c,$(wildcard tools/pim-vm/*.c)))
	$(call say,LD,$@)$(CC) $(PIM_LDFLAGS) $^ -o $@

# Unit tests link the static library: they may look inside.
$(BUILD)/tests/test_%: $(BUILD)/obj/tests/unit/test_%.o $(BUILD)/librt-pim.a $(CARD_SO)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(PIM_LDFLAGS) $< $(BUILD)/librt-pim.a -Wl,-rpath,'$$ORIGIN/..' -L$(BUILD) -lpimcard $(LIB_LIBS) $(CARD_LIBS) -lcheck -lsubunit -lrt -lm -lpthread -o $@

BENCHES := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/bench_*.c))

# Static too: in the guest there is nothing but the driver's backend to load.
$(BUILD)/bench/bench_%: $(BUILD)/obj/tests/bench/bench_%.o $(BUILD)/librt-pim.a
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(PIM_LDFLAGS) $^ -Wl,-rpath,'$$ORIGIN/..' $(LIB_LIBS) -o $@

clean:
	rm -rf build

include tools/run.mk

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
