// SPDX-License-Identifier: MIT
/* The guest's initramfs: init, the modules it loads in order, and what it has to run. A cpio archive in a memory file. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm.h"

#define MAX_MODULES 96

/* What the guest needs before and for the host's files, output and the card. Built-in ones are simply not in modules.dep. */
static const char *const base_modules[] = { "virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay" };

struct archive {
	FILE *f;
	unsigned int ino;
};

struct modlist {
	char *dep; /* modules.dep */
	char *path[MAX_MODULES]; /* relative to the modules directory, in load order */
	unsigned int n;
};

static void pad4(FILE *f, size_t len)
{
	static const char zero[4];

	fwrite(zero, 1, (4 - len % 4) % 4, f);
}

static void entry(struct archive *a, const char *name, unsigned int mode, const void *data, size_t len)
{
	size_t namelen = strlen(name) + 1;

	fprintf(a->f, "070701%08x%08x%08x%08x%08x%08x%08zx%08x%08x%08x%08x%08zx%08x", ++a->ino, mode, 0, 0, 1, 0, len, 0, 0, 0, 0,
		namelen, 0);
	fwrite(name, 1, namelen, a->f);
	pad4(a->f, 110 + namelen);
	fwrite(data, 1, len, a->f);
	pad4(a->f, len);
}

static char *read_fd(int fd, size_t *len)
{
	struct stat st;
	size_t done = 0;
	ssize_t n;
	char *buf;

	if (fstat(fd, &st))
		return NULL;
	buf = malloc((size_t)st.st_size + 1);
	if (!buf)
		return NULL;
	while (done < (size_t)st.st_size && (n = pread(fd, buf + done, (size_t)st.st_size - done, (off_t)done)) > 0)
		done += (size_t)n;
	buf[done] = '\0';
	*len = done;
	return buf;
}

/* A file's bytes; modules of newer kernels are packed, and the guest would need far longer than we do to unpack them. */
static char *read_file(const char *path, size_t *len)
{
	static const struct {
		const char *suffix;
		const char *argv[4];
	} packed[] = { { ".xz", { "xz", "-dc", NULL } }, { ".zst", { "zstd", "-dcq", NULL } }, { ".gz", { "gzip", "-dc", NULL } } };
	int fd = open(path, O_RDONLY | O_CLOEXEC), mem;
	size_t i, n = strlen(path);
	char *buf = NULL;

	if (fd < 0) {
		vm_say("%s: %s", path, strerror(errno));
		return NULL;
	}
	for (i = 0; i < sizeof(packed) / sizeof(*packed); i++) {
		size_t s = strlen(packed[i].suffix);

		if (n < s || strcmp(path + n - s, packed[i].suffix))
			continue;
		mem = memfd_create("module", MFD_CLOEXEC);
		if (mem < 0 || vm_filter(packed[i].argv, fd, mem))
			vm_say("%s: cannot unpack it with %s", path, packed[i].argv[0]);
		else
			buf = read_fd(mem, len);
		close(mem);
		close(fd);
		return buf;
	}
	buf = read_fd(fd, len);
	close(fd);
	return buf;
}

int vm_module_info(const char *path, char *release, size_t rlen, char *depends, size_t dlen)
{
	static const char vermagic[] = "\0vermagic=", deps[] = "\0depends=";
	size_t len, n;
	char *buf = read_file(path, &len), *p, *q;
	int ret = 0;

	if (!buf)
		return -ENOENT;
	/* .modinfo is a section of NUL-terminated key=value strings; it is the only place with these keys. */
	p = memmem(buf, len, vermagic + 1, sizeof(vermagic) - 2);
	q = memmem(buf, len, deps, sizeof(deps) - 1);
	if (memcmp(buf, "\177ELF", len < 4 ? len : 4) || !p) {
		vm_say("--module %s: not a kernel module", path);
		ret = -EINVAL;
	} else {
		p += sizeof(vermagic) - 2;
		n = strcspn(p, " ");
		snprintf(release, rlen, "%.*s", (int)n, p);
		snprintf(depends, dlen, "%s", q ? q + sizeof(deps) - 1 : "");
	}
	free(buf);
	return ret;
}

/* Is this path's file name NAME.ko*? The kernel takes - and _ in names for the same. */
static bool names_module(const char *path, size_t len, const char *name)
{
	const char *base = memrchr(path, '/', len);
	size_t n = strlen(name), i;

	base = base ? base + 1 : path;
	if ((size_t)(path + len - base) < n + 3 || strncmp(base + n, ".ko", 3))
		return false;
	for (i = 0; i < n; i++)
		if ((base[i] == '-' ? '_' : base[i]) != (name[i] == '-' ? '_' : name[i]))
			return false;
	return true;
}

static int add_path(struct modlist *l, const char *path, size_t len)
{
	unsigned int i;

	for (i = 0; i < l->n; i++)
		if (strlen(l->path[i]) == len && !strncmp(l->path[i], path, len))
			return 0;
	if (l->n == MAX_MODULES)
		return -E2BIG;
	l->path[l->n] = strndup(path, len);
	return l->path[l->n++] ? 0 : -ENOMEM;
}

/* modules.dep: "path: dep dep dep", where the last one must be loaded first. A module that is not there is built in: 0 too. */
static int add_module(struct modlist *l, const char *name)
{
	const char *line, *end, *colon, *p, *q;
	int ret;

	for (line = l->dep; *line; line = *end ? end + 1 : end) {
		end = strchrnul(line, '\n');
		colon = memchr(line, ':', (size_t)(end - line));
		if (!colon || !names_module(line, (size_t)(colon - line), name))
			continue;
		for (q = end; q > colon + 1; q = p) {
			p = memrchr(colon, ' ', (size_t)(q - colon));
			if (!p)
				break;
			if (q > p + 1) {
				ret = add_path(l, p + 1, (size_t)(q - p - 1));
				if (ret)
					return ret;
			}
		}
		return add_path(l, line, (size_t)(colon - line));
	}
	return 0;
}

static int collect(const struct vm_options *opt, const struct vm_kernel *k, const char *depends, struct modlist *l)
{
	char path[PATH_MAX + 16], list[512];
	char *name, *save;
	size_t len, i;
	int ret = 0;

	snprintf(path, sizeof(path), "%s/modules.dep", k->modules);
	if (access(path, R_OK)) {
		/* A package that was only unpacked has no index yet. */
		const char *const argv[] = { "sh", "-c",
					     "r=${0%/lib/modules/*}; PATH=$PATH:/sbin:/usr/sbin depmod -b \"${r:-/}\" \"${0##*/}\"",
					     k->modules, NULL };

		if (vm_filter(argv, STDIN_FILENO, STDERR_FILENO) || access(path, R_OK)) {
			vm_say("%s is missing, and depmod did not make it: install package kmod", path);
			return -ENOENT;
		}
	}
	l->dep = read_file(path, &len);
	if (!l->dep)
		return -ENOENT;
	for (i = 0; !ret && i < sizeof(base_modules) / sizeof(*base_modules); i++)
		ret = add_module(l, base_modules[i]);
	for (i = 0; !ret && i < opt->nload; i++)
		ret = add_module(l, opt->load[i]);
	snprintf(list, sizeof(list), "%s", depends);
	for (name = strtok_r(list, ",", &save); !ret && name; name = strtok_r(NULL, ",", &save))
		ret = add_module(l, name);
	return ret;
}

static int pack_modules(struct archive *a, const struct vm_options *opt, const struct vm_kernel *k)
{
	struct modlist l = { 0 };
	char path[2 * PATH_MAX], name[80], release[128] = "", depends[512] = "", *list = NULL, *data;
	size_t len, listlen = 0;
	FILE *lf = open_memstream(&list, &listlen);
	unsigned int i;
	int ret = lf ? 0 : -ENOMEM;

	if (!ret && opt->module) {
		ret = vm_module_info(opt->module, release, sizeof(release), depends, sizeof(depends));
		if (!ret && strcmp(release, k->release)) {
			vm_say("--module %s: made for kernel %s, the guest has %s: build it against that one's headers (make "
			       "module KDIR=...)",
			       opt->module, release, k->release);
			ret = -EINVAL;
		}
	}
	if (!ret)
		ret = collect(opt, k, depends, &l);
	for (i = 0; !ret && i < l.n; i++) {
		snprintf(path, sizeof(path), "%s/%s", k->modules, l.path[i]);
		data = read_file(path, &len);
		if (!data) {
			ret = -ENOENT;
			break;
		}
		/* The number keeps the names apart and short. */
		snprintf(name, sizeof(name), "pim/%02u-%.60s", i, strrchr(path, '/') + 1);
		entry(a, name, S_IFREG | 0644, data, len);
		fprintf(lf, "/%s\n", name);
		free(data);
	}
	if (!ret && opt->module) {
		data = read_file(opt->module, &len);
		ret = data ? 0 : -ENOENT;
		if (data)
			entry(a, "pim/pim.ko", S_IFREG | 0644, data, len);
		fprintf(lf, "?/pim/pim.ko\n");
		free(data);
	}
	if (lf)
		fclose(lf);
	if (!ret)
		entry(a, "pim/modules", S_IFREG | 0644, list, listlen);
	free(list);
	for (i = 0; i < l.n; i++)
		free(l.path[i]);
	free(l.dep);
	return ret;
}

/* What the guest's root must not take over from the caller. */
static const char *const guest_env[] = { "HOME=/root", "USER=root", "LOGNAME=root" };

static bool overridden(const char *var)
{
	size_t i;

	for (i = 0; i < sizeof(guest_env) / sizeof(*guest_env); i++)
		if (!strncmp(var, guest_env[i], strcspn(guest_env[i], "=") + 1))
			return true;
	return false;
}

static int pack_strings(struct archive *a, const char *name, char *const *strings, bool env)
{
	char *buf = NULL;
	size_t len = 0, i;
	FILE *f = open_memstream(&buf, &len);

	if (!f)
		return -ENOMEM;
	for (; *strings; strings++)
		if (!env || !overridden(*strings))
			fwrite(*strings, 1, strlen(*strings) + 1, f);
	for (i = 0; env && i < sizeof(guest_env) / sizeof(*guest_env); i++)
		fwrite(guest_env[i], 1, strlen(guest_env[i]) + 1, f);
	fclose(f);
	entry(a, name, S_IFREG | 0644, buf, len);
	free(buf);
	return 0;
}

static int pack_command(struct archive *a, const struct vm_options *opt)
{
	char mounts[VM_MAX_RW * (PATH_MAX + 1)], cwd[PATH_MAX];
	size_t len = 0;
	unsigned int i;
	int ret;

	if (!getcwd(cwd, sizeof(cwd))) {
		vm_say("current directory: %s", strerror(errno));
		return -errno;
	}
	for (i = 0; i < opt->nrw; i++)
		len += (size_t)snprintf(mounts + len, sizeof(mounts) - len, "%s\n", opt->rw[i]);
	entry(a, "pim/mounts", S_IFREG | 0644, mounts, len);
	entry(a, "pim/cwd", S_IFREG | 0644, cwd, strlen(cwd));
	ret = pack_strings(a, "pim/argv", opt->command, false);
	if (!ret && setenv("CK_TIMEOUT_MULTIPLIER", "10", 0)) /* libcheck's time limits were made for a real CPU */
		ret = -errno;
	return ret ? ret : pack_strings(a, "pim/env", environ, true);
}

int vm_initramfs(const struct vm_options *opt, const struct vm_places *at, const struct vm_kernel *k, bool probe)
{
	struct archive a = { 0 };
	char path[PATH_MAX + 16];
	char *init;
	size_t len;
	int fd, ret = 0;

	snprintf(path, sizeof(path), "%s/pim-init", at->bin);
	init = read_file(path, &len);
	if (!init)
		return -ENOENT;
	fd = memfd_create("initramfs", 0);
	a.f = fd < 0 ? NULL : fdopen(dup(fd), "w");
	if (!a.f) {
		ret = -errno;
		vm_say("no memory file for the initramfs: %s", strerror(-ret));
		goto out;
	}
	/* The kernel wants its console before init has mounted anything. */
	entry(&a, "dev", S_IFDIR | 0755, "", 0);
	entry(&a, "init", S_IFREG | 0755, init, len);
	entry(&a, "pim", S_IFDIR | 0755, "", 0);
	if (probe) {
		entry(&a, "pim/probe", S_IFREG | 0644, "", 0);
	} else {
		ret = pack_modules(&a, opt, k);
		if (!ret)
			ret = pack_command(&a, opt);
	}
	entry(&a, "TRAILER!!!", 0, "", 0);
	if (fclose(a.f) && !ret) {
		ret = -errno;
		vm_say("initramfs: %s", strerror(-ret));
	}
out:
	free(init);
	if (ret && fd >= 0)
		close(fd);
	return ret ? ret : fd;
}
