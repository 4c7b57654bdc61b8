// SPDX-License-Identifier: GPL-2.0-only
#ifndef __CHECKER__ /* sparse does not follow the generated code */
#define CREATE_TRACE_POINTS
#include "pim_trace.h"
#endif
