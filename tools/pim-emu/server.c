// SPDX-License-Identifier: MIT
/*
 * The ivshmem server protocol: 8-byte little-endian numbers, each with at most one descriptor. QEMU is peer 0, the card 1.
 * The order below is the one without a race: QEMU takes everything up to the memory before its device exists, and its own interrupt
 * eventfds right after.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "emu.h"

#define IVSHMEM_VERSION 0
#define QEMU_ID 0
#define CARD_ID 1

static int send_number(int sock, int64_t value, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	int64_t wire = (int64_t)htole64((uint64_t)value);
	struct iovec iov = { .iov_base = &wire, .iov_len = sizeof(wire) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;
	ssize_t n;

	if (fd >= 0) {
		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	}
	do {
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n == sizeof(wire) ? 0 : -EPIPE;
}

int emu_introduce(const struct emu *emu, int sock)
{
	unsigned int v;
	int ret;

	ret = send_number(sock, IVSHMEM_VERSION, -1);
	if (!ret)
		ret = send_number(sock, QEMU_ID, -1);
	for (v = 0; !ret && v < PIM_HW_VECTORS; v++)
		ret = send_number(sock, CARD_ID, emu->doorbell[v]);
	if (!ret)
		ret = send_number(sock, -1, emu->memfd);
	for (v = 0; !ret && v < PIM_HW_VECTORS; v++)
		ret = send_number(sock, QEMU_ID, emu->irq[v]);
	return ret;
}

/* A socket file may be left over from a card that was killed: it is ours to replace only if nobody answers there. */
static int stale(const struct sockaddr_un *addr)
{
	struct stat st;
	int s, ret;

	if (lstat(addr->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return 0;
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return 0;
	ret = connect(s, (const struct sockaddr *)addr, sizeof(*addr)) && errno == ECONNREFUSED;
	close(s);
	return ret;
}

int emu_listen(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int s, ret;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		emu_say("--socket %s: longer than %zu bytes", path, sizeof(addr.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	strcpy(addr.sun_path, path);
	s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s < 0) {
		ret = -errno;
		emu_say("no UNIX socket: %s", strerror(-ret));
		return ret;
	}
	ret = bind(s, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
	if (ret == -EADDRINUSE && stale(&addr)) {
		unlink(path);
		ret = bind(s, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
	}
	if (ret == -EADDRINUSE) {
		emu_say("--socket %s: in use, by another pim-emu or by a file; choose another path", path);
		goto fail;
	}
	if (!ret && listen(s, 4))
		ret = -errno;
	if (ret) {
		emu_say("--socket %s: %s", path, strerror(-ret));
		goto fail;
	}
	return s;

fail:
	close(s);
	return ret;
}
