# SPDX-License-Identifier: MIT
# Targets that install, build the module, boot and test.

# The guest's init: static, and never with a sanitizer.
$(BUILD)/pim-init: tools/pim-vm/init.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) -std=c11 -D_GNU_SOURCE $(WARN) -O2 -static $< -o $@

tools: $(BUILD)/pim-init

include kernel/module.mk

deps:
