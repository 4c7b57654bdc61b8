/* SPDX-License-Identifier: MIT */
/* pim-vm: one command in a guest that has the emulated card. */
#ifndef PIM_VM_H
#define PIM_VM_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define VM_MAX_RW 8
#define VM_MAX_CARDS 4
#define VM_MAX_LOAD 8
#define VM_FAILED 125 /* exit status: pim-vm's own failure */
#define VM_TIMED_OUT 124

enum vm_accel { VM_AUTO, VM_KVM, VM_TCG };

/** struct vm_options - the command line, paths made absolute */
struct vm_options {
	const char *kernel; /* bzImage or vmlinux; NULL: find one */
	const char *card[VM_MAX_CARDS];
	unsigned int ncards;
	const char *module; /* NULL: none */
	const char *load[VM_MAX_LOAD]; /* modules of the guest kernel, by name */
	unsigned int nload;
	const char *dmesg; /* where to put the guest's kernel log, or NULL */
	const char *rw[VM_MAX_RW];
	unsigned int nrw;
	enum vm_accel accel;
	unsigned int timeout_s, memory_mib, cpus;
	bool reboot; /* when the guest resets itself, instead of ending */
	bool verbose, quiet;
	char **command;
};

/** struct vm_places - where pim-vm's own things are */
struct vm_places {
	char bin[PATH_MAX]; /* pim-vm, pim-emu, pim-init, pim.ko */
	char cache[PATH_MAX]; /* what make deps fetched and what is derived from it */
};

/** struct vm_kernel - a guest kernel */
struct vm_kernel {
	char image[PATH_MAX]; /* uncompressed ELF */
	char release[128]; /* uname -r */
	char modules[PATH_MAX]; /* .../lib/modules/RELEASE */
};

void vm_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int vm_mkdirs(const char *dir);

/* All of these print what is wrong and return negative errno. */
int vm_kernel_find(const struct vm_options *opt, const struct vm_places *at, struct vm_kernel *k);
/* Runs a program with in and out as its standard input and output; its exit status, or negative errno. */
int vm_filter(const char *const argv[], int in, int out);

/* The release a module was built for and the modules it needs, comma separated. */
int vm_module_info(const char *path, char *release, size_t rlen, char *depends, size_t dlen);
/* A memory file with the initramfs of this run; probe: only the part that shows that a guest boots. */
int vm_initramfs(const struct vm_options *opt, const struct vm_places *at, const struct vm_kernel *k, bool probe);

/* What the guest's ports carry, as the ends that stay in this process. */
enum vm_port { VM_OUT, VM_ERR, VM_LOG, VM_CTL, VM_CONSOLE, VM_PORTS };

/** struct vm_machine - the processes of a run */
struct vm_machine {
	pid_t qemu, emu[VM_MAX_CARDS];
	int port[VM_PORTS];
	int qemu_log; /* QEMU's own messages */
};

int vm_machine_start(const struct vm_options *opt, const struct vm_places *at, const struct vm_kernel *k, bool kvm, int initrd,
		     struct vm_machine *m);
void vm_machine_stop(struct vm_machine *m);
/* Boots a guest with KVM that does nothing but end. 1 it did, 0 it did not; why[] says which. */
int vm_kvm_works(const struct vm_options *opt, const struct vm_places *at, const struct vm_kernel *k, char *why, size_t len);

/* Run it all; the exit status of pim-vm. */
int vm_session(const struct vm_options *opt, const struct vm_places *at, const struct vm_kernel *k, bool kvm);

#endif
