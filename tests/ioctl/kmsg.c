/* SPDX-License-Identifier: MIT */
#include "kmsg.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kernel_trouble.h" /* static const char * const kernel_trouble[], made of tests/kernel-trouble */

int kmsg_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

int kmsg_trouble(int fd)
{
	char line[8192], *text;
	size_t i;
	ssize_t n;
	int bad = 0;

	for (;;) {
		n = read(fd, line, sizeof(line) - 1);
		if (n < 0 && errno == EPIPE) { /* lines were overwritten before they were read */
			printf("# kernel log overflowed\n");
			bad++;
			continue;
		}
		if (n <= 0)
			return bad;
		line[n] = '\0';
		text = strchr(line, ';');
		if (!text)
			continue;
		text[strcspn(text, "\n")] = '\0';
		for (i = 0; i < sizeof(kernel_trouble) / sizeof(kernel_trouble[0]); i++) {
			if (strstr(text, kernel_trouble[i])) {
				printf("# kernel: %s\n", text + 1);
				bad++;
				break;
			}
		}
	}
}
