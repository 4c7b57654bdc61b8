# SPDX-License-Identifier: MIT
# Targets that install, build the module, boot and test.

deps:
module:
