# SPDX-License-Identifier: MIT
# pim-ioctl: one static program, so that it runs in any guest; pim-ioctl32: the same for 32-bit processes.

IOCTL_SRC := $(wildcard tests/ioctl/*.c)
IOCTL_CFLAGS := -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 $(WARN) -O2 -g -Iinclude -Iinclude/uapi -I/usr/include/libdrm

IOCTL_DEPS := $(IOCTL_SRC) tests/ioctl/harness.h include/pim/hw.h include/uapi/drm/pim_drm.h tests/ioctl/ioctl.mk

$(BUILD)/tests/pim-ioctl: $(IOCTL_DEPS)
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(IOCTL_CFLAGS) -static $(IOCTL_SRC) -o $@

$(BUILD)/tests/pim-ioctl32: $(IOCTL_DEPS)
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(IOCTL_CFLAGS) -m32 -static $(IOCTL_SRC) -o $@
