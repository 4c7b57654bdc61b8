/* SPDX-License-Identifier: GPL-2.0-only */
/* A program has no parameters of a module: what reads one finds its initial value. */
#ifndef PIM_SHIM_LINUX_MODULE_H
#define PIM_SHIM_LINUX_MODULE_H

#define module_param(name, type, mode) _Static_assert(1, #name)
#define MODULE_PARM_DESC(name, text) _Static_assert(1, text)
#define MODULE_DESCRIPTION(text) _Static_assert(1, text)
#define MODULE_LICENSE(text) _Static_assert(1, text)

#endif
