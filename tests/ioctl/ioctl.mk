# SPDX-License-Identifier: MIT
# pim-ioctl, pim-fuzz: static programs, so that they run in any guest; pim-ioctl32: the tests as a 32-bit process.

IOCTL_SRC := $(wildcard tests/ioctl/*.c)
FUZZ_SRC := $(wildcard tests/fuzz/*.c) tests/ioctl/kmsg.c
GUEST_HDR := $(wildcard tests/ioctl/*.h) include/pim/hw.h include/uapi/drm/pim_drm.h $(BUILD)/gen/kernel_trouble.h tests/ioctl/ioctl.mk
GUEST_CFLAGS := -std=c11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 $(WARN) -O2 -g -Iinclude -Iinclude/uapi -I/usr/include/libdrm -I$(BUILD)/gen \
	-Itests/ioctl

$(BUILD)/gen/kernel_trouble.h: tests/kernel-trouble
	@mkdir -p $(@D)
	@{ echo '/* Made of $<. */'; echo 'static const char * const kernel_trouble[] = {'; sed '/^#/d; s/.*/	"&",/' $<; echo '};'; } > $@

$(BUILD)/tests/pim-ioctl: $(IOCTL_SRC) $(GUEST_HDR)
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(GUEST_CFLAGS) -static $(IOCTL_SRC) -o $@

$(BUILD)/tests/pim-ioctl32: $(IOCTL_SRC) $(GUEST_HDR)
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(GUEST_CFLAGS) -m32 -static $(IOCTL_SRC) -o $@

$(BUILD)/tests/pim-fuzz: $(FUZZ_SRC) $(wildcard tests/fuzz/*.h) $(GUEST_HDR)
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(GUEST_CFLAGS) -static -pthread $(FUZZ_SRC) -o $@
