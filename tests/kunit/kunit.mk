# SPDX-License-Identifier: GPL-2.0-only
# The driver's pure logic and its unit tests, in KUnit's form: as a program, one of TESTS, and as a module for kernels with CONFIG_KUNIT.

KUNIT_LOGIC := line policy place
KUNIT_SRC := $(wildcard tests/kunit/*.c) $(KUNIT_LOGIC:%=kernel/pim_%.c)
KUNIT_HDR := $(wildcard tests/kunit/*.h) $(KUNIT_LOGIC:%=kernel/pim_%.h)
KUNIT_OBJ := $(call obj,$(KUNIT_SRC) tests/kunit/shim/shim.c)
TESTS += $(BUILD)/tests/kunit

# The kernel compares signed with unsigned.
$(KUNIT_OBJ): PIM_CFLAGS += -Itests/kunit/shim -Ikernel -Wno-sign-compare

$(BUILD)/tests/kunit: $(KUNIT_OBJ)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(PIM_LDFLAGS) $^ -o $@

# "make kunit-module KDIR=..."
KUNIT := $(BUILD)/kunit/$(KVER)
.PHONY: kunit-module
kunit-module: $(KUNIT)/pim_kunit.ko

$(KUNIT)/pim_kunit.ko: KMOD = $(KUNIT)
$(KUNIT)/pim_kunit.ko: $(KUNIT_SRC) $(KUNIT_HDR) tests/kunit/Kbuild tests/kunit/kunit.mk include/uapi/drm/pim_drm.h
	@mkdir -p $(KUNIT)
	$(Q)ln -sf $(foreach f,$(KUNIT_SRC) $(KUNIT_HDR) tests/kunit/Kbuild,$(abspath $(f))) $(KUNIT)/
	+$(call say,KMOD,$@)$(KMOD_MAKE) modules
	@touch $@
