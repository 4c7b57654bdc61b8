/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <pim/device.h>

#include "error.h"

#define PIM_API __attribute__((visibility("default")))

static _Thread_local char message[1024];

int pim_error(int err, const char *fmt, ...)
{
	char text[sizeof(message)];
	va_list ap;

	/* Formatted aside: an argument may be the former message, wrapped in more context. */
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	memcpy(message, text, sizeof(message));
	return err;
}

PIM_API const char *pim_strerror(void)
{
	return message[0] ? message : "no error";
}
