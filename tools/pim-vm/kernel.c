// SPDX-License-Identifier: MIT
/*
 * The guest's kernel: find one, and take the ELF image out of a distribution's bzImage. Under TCG the kernel would spend more time
 * unpacking itself than booting, so it is unpacked here, once.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vm.h"

/* x86 boot protocol, Documentation/arch/x86/boot.rst */
#define SETUP_SECTS 0x1f1
#define HEADER_MAGIC 0x202
#define KERNEL_VERSION 0x20e
#define PAYLOAD_OFFSET 0x248
#define PAYLOAD_LENGTH 0x24c

static const struct packing {
	unsigned char magic[6];
	size_t len;
	size_t trailer; /* bytes of size the kernel's build adds behind the stream */
	const char *argv[4];
	const char *package;
} packings[] = {
	{ { 0xfd, '7', 'z', 'X', 'Z', 0 }, 6, 4, { "xz", "-dc", NULL }, "xz-utils" },
	{ { 0x28, 0xb5, 0x2f, 0xfd }, 4, 4, { "zstd", "-dcq", NULL }, "zstd" },
	{ { 0x1f, 0x8b }, 2, 0, { "gzip", "-dc", NULL }, "gzip" },
	{ { 0x02, 0x21, 0x4c, 0x18 }, 4, 4, { "lz4", "-dc", NULL }, "lz4" },
};

int vm_filter(const char *const argv[], int in, int out)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (!pid) {
		dup2(in, STDIN_FILENO);
		dup2(out, STDOUT_FILENO);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static uint32_t le32(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The compressed image as a memory file, positioned at its start: what a filter can read. */
static int payload_file(const unsigned char *data, size_t len)
{
	int fd = memfd_create("payload", MFD_CLOEXEC);
	size_t done = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while (done < len) {
		n = write(fd, data + done, len - done);
		if (n < 0) {
			close(fd);
			return -EIO;
		}
		done += (size_t)n;
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static int unpack(const char *from, const unsigned char *data, size_t len, const char *to)
{
	const struct packing *p = NULL;
	char temp[PATH_MAX + 16];
	size_t i;
	int in, out, ret;

	for (i = 0; i < sizeof(packings) / sizeof(*packings); i++)
		if (len > 64 && !memcmp(data, packings[i].magic, packings[i].len))
			p = &packings[i];
	if (!p) {
		vm_say("--kernel %s: packed in a way this program does not know; give an uncompressed vmlinux", from);
		return -EINVAL;
	}
	if (snprintf(temp, sizeof(temp), "%s.%d", to, (int)getpid()) >= (int)sizeof(temp))
		return -ENAMETOOLONG;
	in = payload_file(data, len - p->trailer);
	if (in < 0) {
		vm_say("%s: no memory to unpack it: %s", from, strerror(-in));
		return in;
	}
	out = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (out < 0) {
		ret = -errno;
		vm_say("%s: %s", temp, strerror(-ret));
		goto out_in;
	}
	ret = vm_filter(p->argv, in, out);
	if (ret == 127)
		vm_say("%s: %s is missing: install package %s", from, p->argv[0], p->package);
	else if (ret)
		vm_say("%s: %s failed with status %d: is the file damaged, is the disk full?", from, p->argv[0], ret);
	ret = ret ? -EIO : 0;
	/* Whole or not at all: another pim-vm may be looking. */
	if ((close(out) || (!ret && rename(temp, to))) && !ret) {
		ret = -errno;
		vm_say("%s: %s", to, strerror(-ret));
	}
	if (ret)
		unlink(temp);
out_in:
	close(in);
	return ret;
}

/* Name of the unpacked image: the same file again gives the same name, a changed one another. */
static int unpacked_name(const struct vm_places *at, const struct vm_kernel *k, const struct stat *st, char *out, size_t len)
{
	int n = snprintf(out, len, "%s/vmlinux/%s-%llx-%llx", at->cache, k->release, (unsigned long long)st->st_size,
			 (unsigned long long)st->st_mtime);

	return n < 0 || (size_t)n >= len ? -ENAMETOOLONG : 0;
}

static int copy_release(struct vm_kernel *k, const char *text, size_t max)
{
	size_t n = 0;

	while (n < max && n < sizeof(k->release) - 1 && text[n] > ' ')
		n++;
	memcpy(k->release, text, n);
	k->release[n] = '\0';
	return n ? 0 : -EINVAL;
}

static int from_bzimage(const char *path, const unsigned char *img, const struct stat *st, const struct vm_places *at,
			struct vm_kernel *k)
{
	size_t size = (size_t)st->st_size, setup = img[SETUP_SECTS] ? img[SETUP_SECTS] : 4;
	size_t version = (size_t)img[KERNEL_VERSION] + ((size_t)img[KERNEL_VERSION + 1] << 8) + 0x200;
	size_t start = (setup + 1) * 512 + le32(img + PAYLOAD_OFFSET), len = le32(img + PAYLOAD_LENGTH);
	char dir[PATH_MAX + 16];
	int ret;

	if (version >= size || start >= size || len > size - start ||
	    copy_release(k, (const char *)img + version, size - version)) {
		vm_say("--kernel %s: truncated or damaged kernel image", path);
		return -EINVAL;
	}
	ret = unpacked_name(at, k, st, k->image, sizeof(k->image));
	if (ret || !access(k->image, R_OK))
		return ret;
	snprintf(dir, sizeof(dir), "%s/vmlinux", at->cache);
	ret = vm_mkdirs(dir);
	if (ret)
		return ret;
	vm_say("unpacking the guest kernel %s (once)", k->release);
	return unpack(path, img + start, len, k->image);
}

static int from_elf(const char *path, const unsigned char *img, size_t size, struct vm_kernel *k)
{
	static const char banner[] = "Linux version ";
	const unsigned char *p = memmem(img, size, banner, sizeof(banner) - 1);

	if (!p || copy_release(k, (const char *)p + sizeof(banner) - 1, size - (size_t)(p - img) - sizeof(banner))) {
		vm_say("--kernel %s: an ELF file, but not a Linux kernel", path);
		return -EINVAL;
	}
	if (snprintf(k->image, sizeof(k->image), "%s", path) >= (int)sizeof(k->image))
		return -ENAMETOOLONG;
	return 0;
}

/* Modules lie where the package put them: ROOT/boot/vmlinuz-R and ROOT/lib/modules/R (or ROOT/usr/lib). */
static int find_modules(const char *path, struct vm_kernel *k)
{
	static const char *const below[] = { "%s/../lib/modules/%s", "%s/../usr/lib/modules/%s" };
	char dir[PATH_MAX], probe[PATH_MAX + 300];
	char *slash;
	size_t i;

	if (!realpath(path, dir))
		return -errno;
	slash = strrchr(dir, '/');
	*slash = '\0';
	for (i = 0; i < sizeof(below) / sizeof(*below); i++) {
		snprintf(probe, sizeof(probe), below[i], dir, k->release);
		if (!access(probe, R_OK) && realpath(probe, k->modules))
			return 0;
	}
	snprintf(probe, sizeof(probe), "/lib/modules/%s", k->release);
	if (!access(probe, R_OK) && realpath(probe, k->modules))
		return 0;
	vm_say("kernel %s: no modules for %s beside it (../lib/modules) nor in /lib/modules: unpack the whole linux-image package",
	       path, k->release);
	return -ENOENT;
}

static int open_kernel(const char *path, const struct vm_places *at, struct vm_kernel *k)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret;
	const unsigned char *img;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		ret = -errno;
		vm_say("--kernel %s: %s", path, strerror(-ret));
		if (fd >= 0)
			close(fd);
		return ret;
	}
	img = st.st_size > 0x1000 ? mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
	close(fd);
	if (img == MAP_FAILED) {
		vm_say("--kernel %s: not a kernel image", path);
		return -EINVAL;
	}
	if (!memcmp(img + HEADER_MAGIC, "HdrS", 4)) {
		ret = from_bzimage(path, img, &st, at, k);
	} else if (!memcmp(img, "\177ELF", 4)) {
		ret = from_elf(path, img, (size_t)st.st_size, k);
	} else {
		vm_say("--kernel %s: neither a bzImage nor an ELF vmlinux", path);
		ret = -EINVAL;
	}
	munmap((void *)img, (size_t)st.st_size);
	return ret ? ret : find_modules(path, k);
}

/* Newest vmlinuz-* of a directory, by version. */
static int newest(const char *dir, char *out, size_t len)
{
	struct dirent **list;
	int n = scandir(dir, &list, NULL, versionsort), i, found = -ENOENT;

	for (i = n - 1; i >= 0; i--) {
		/* The cloud flavour has no DRM, so no pim.ko either. */
		if (found && !strncmp(list[i]->d_name, "vmlinuz-", 8) && !strstr(list[i]->d_name, "-cloud-") &&
		    snprintf(out, len, "%s/%s", dir, list[i]->d_name) < (int)len && !access(out, R_OK))
			found = 0;
		free(list[i]);
	}
	if (n >= 0)
		free(list);
	return found;
}

/* The kernel a driver was made for is the one to boot with it. */
static int matching(const struct vm_options *opt, const struct vm_places *at, struct vm_kernel *k)
{
	static const char *const images[] = { "guest/boot/vmlinuz", "next/boot/vmlinuz", "debug/boot/vmlinux" };
	char release[128], depends[512], path[PATH_MAX + 256];
	size_t i;
	int ret = vm_module_info(opt->module, release, sizeof(release), depends, sizeof(depends));

	if (ret)
		return ret;
	for (i = 0; i < sizeof(images) / sizeof(*images); i++) {
		snprintf(path, sizeof(path), "%s/%s-%s", at->cache, images[i], release);
		if (!access(path, R_OK))
			return open_kernel(path, at, k);
	}
	snprintf(path, sizeof(path), "/boot/vmlinuz-%s", release);
	if (!access(path, R_OK))
		return open_kernel(path, at, k);
	vm_say("no image of kernel %s, for which %s was made, in %s/guest nor in /boot: run \"make deps\", or give --kernel FILE",
	       release, opt->module, at->cache);
	return -ENOENT;
}

int vm_kernel_find(const struct vm_options *opt, const struct vm_places *at, struct vm_kernel *k)
{
	char dir[PATH_MAX + 32], path[PATH_MAX];

	if (opt->kernel)
		return open_kernel(opt->kernel, at, k);
	if (opt->module)
		return matching(opt, at, k);
	snprintf(dir, sizeof(dir), "%s/guest/boot", at->cache);
	if (!newest(dir, path, sizeof(path)) || !newest("/boot", path, sizeof(path)))
		return open_kernel(path, at, k);
	vm_say("no guest kernel in %s nor in /boot: run \"make deps\", or give --kernel FILE", dir);
	return -ENOENT;
}
