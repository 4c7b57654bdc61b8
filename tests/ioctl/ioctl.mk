# SPDX-License-Identifier: MIT
# pim-ioctl: one static program, so that it runs in any guest.

IOCTL_SRC := $(wildcard tests/ioctl/*.c)
IOCTL_CFLAGS := -std=c11 -D_GNU_SOURCE $(WARN) -O2 -g -Iinclude -Iinclude/uapi -I/usr/include/libdrm

$(BUILD)/tests/pim-ioctl: $(IOCTL_SRC) tests/ioctl/harness.h include/pim/hw.h include/uapi/drm/pim_drm.h
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(IOCTL_CFLAGS) -static $(IOCTL_SRC) -o $@
