# SPDX-License-Identifier: GPL-2.0-only
# pim.ko: "make module" for the default kernel, "make module KDIR=/lib/modules/VERSION/build" for another one. The objects are kept out of
# the source tree: the sources are linked into $(BUILD)/kmod/VERSION, where Kbuild builds them.
#
#	KMOD_ARGS	more for Kbuild, for example W=1 C=1

# Not the running kernel: that may be a container host's. The newest one whose headers are here.
KDIR ?= $(lastword $(shell ls -d /lib/modules/*/build 2>/dev/null | sort -V))
KVER ?= $(or $(notdir $(patsubst %/build,%,$(KDIR))),none)
KMOD_DEFAULT := $(lastword $(shell ls -d /lib/modules/*/build 2>/dev/null | sort -V))
KMOD_ARGS ?=
KMOD := $(BUILD)/kmod/$(KVER)
KMOD_SRC := $(wildcard kernel/*.c kernel/*.h) kernel/Kbuild
KMOD_HDR := include/pim/hw.h include/uapi/drm/pim_drm.h
# No BTF: it would ask for pahole and the vmlinux of that kernel, and nothing reads it.
KMOD_MAKE = $(MAKE) --no-print-directory -s -C $(KDIR) M=$(abspath $(KMOD)) CONFIG_DEBUG_INFO_BTF_MODULES= PIM_TOP=$(CURDIR) $(KMOD_ARGS)

module: $(KMOD)/pim.ko
	$(Q)if [ "$(KDIR)" = "$(KMOD_DEFAULT)" ]; then cmp -s $(KMOD)/pim.ko $(BUILD)/pim.ko || cp $(KMOD)/pim.ko $(BUILD)/pim.ko; fi

$(KMOD)/pim_config.h: kernel/probe.sh
	@[ -d "$(KDIR)" ] || { echo "no kernel headers in '$(KDIR)': apt-get install linux-headers-amd64, or give KDIR=" >&2; exit 1; }
	@mkdir -p $(@D)
	$(call say,PROBE,$(KDIR))MAKE='$(MAKE)' kernel/probe.sh $(KDIR) $(KMOD)/probe $@

# The last: a kernel of the same name may have been built again with another configuration.
$(KMOD)/pim_config.h $(KMOD)/pim.ko: $(wildcard $(KDIR)/include/generated/autoconf.h)
$(KMOD)/pim.ko: $(KMOD_SRC) $(KMOD_HDR) $(KMOD)/pim_config.h kernel/module.mk
	$(Q)ln -sf $(foreach f,$(KMOD_SRC),$(abspath $(f))) $(KMOD)/
	+$(call say,KMOD,$@)$(KMOD_MAKE) modules
	@touch $@
