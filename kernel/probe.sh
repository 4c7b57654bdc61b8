#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
# Ask the kernel's headers, by compiling, which internal interfaces they have; write pim_config.h.
# Stable updates change these interfaces, so a version number does not tell.
#
#	probe.sh KDIR WORKDIR OUTPUT [make variables]
set -eu

kdir=$1 dir=$2 out=$3
shift 3

rm -rf "$dir"
mkdir -p "$dir"

names=
probe() { # NAME, snippet on stdin
	names="$names $1"
	cat > "$dir/$1.c"
}

probe CANARY <<'END'
#include <linux/module.h>
#include <drm/drm_drv.h>
#include <drm/gpu_scheduler.h>
int pim_probe(struct drm_gpu_scheduler *s);
int pim_probe(struct drm_gpu_scheduler *s) { return s != NULL; }
END
probe CANARY_BAD <<'END'
#include <drm/gpu_scheduler.h>
int pim_probe(struct drm_gpu_scheduler *s);
int pim_probe(struct drm_gpu_scheduler *s) { return s->no_such_member; }
END
probe VM_FLAGS_SET <<'END'
#include <linux/mm.h>
void pim_probe(struct vm_area_struct *vma);
void pim_probe(struct vm_area_struct *vma) { vm_flags_set(vma, VM_IO); }
END
probe EVENTFD_SIGNAL_N <<'END'
#include <linux/eventfd.h>
void pim_probe(struct eventfd_ctx *c);
void pim_probe(struct eventfd_ctx *c) { eventfd_signal(c, 1); }
END
probe DRIVER_DATE <<'END'
#include <drm/drm_drv.h>
extern const struct drm_driver pim_probe;
const struct drm_driver pim_probe = { .date = "20260101" };
END
probe DRIVER_PRIME_MMAP <<'END'
#include <drm/drm_drv.h>
extern const struct drm_driver pim_probe;
const struct drm_driver pim_probe = { .gem_prime_mmap = NULL };
END
probe IMPORT_NS_NAME <<'END'
#include <linux/module.h>
MODULE_IMPORT_NS(DMA_BUF);
END
probe DMA_BUF_VMAP_UNLOCKED <<'END'
#include <linux/dma-buf.h>
int pim_probe(struct dma_buf *b, struct iosys_map *m);
int pim_probe(struct dma_buf *b, struct iosys_map *m) { return dma_buf_vmap_unlocked(b, m); }
END
probe SCHED_INIT_ARGS_RQS <<'END'
#include <drm/gpu_scheduler.h>
int pim_probe(struct drm_gpu_scheduler *s, struct drm_sched_init_args *a);
int pim_probe(struct drm_gpu_scheduler *s, struct drm_sched_init_args *a) { a->num_rqs = 1; return drm_sched_init(s, a); }
END
probe SCHED_INIT_ARGS <<'END'
#include <drm/gpu_scheduler.h>
int pim_probe(struct drm_gpu_scheduler *s, struct drm_sched_init_args *a);
int pim_probe(struct drm_gpu_scheduler *s, struct drm_sched_init_args *a) { a->credit_limit = 1; return drm_sched_init(s, a); }
END
probe SCHED_INIT_11 <<'END'
#include <drm/gpu_scheduler.h>
int pim_probe(struct drm_gpu_scheduler *s, const struct drm_sched_backend_ops *o);
int pim_probe(struct drm_gpu_scheduler *s, const struct drm_sched_backend_ops *o)
{ return drm_sched_init(s, o, NULL, 1, 1, 0, 1, NULL, NULL, "x", NULL); }
END
probe SCHED_INIT_9 <<'END'
#include <drm/gpu_scheduler.h>
int pim_probe(struct drm_gpu_scheduler *s, const struct drm_sched_backend_ops *o);
int pim_probe(struct drm_gpu_scheduler *s, const struct drm_sched_backend_ops *o)
{ return drm_sched_init(s, o, 1, 0, 1, NULL, NULL, "x", NULL); }
END
probe SCHED_JOB_CREDITS <<'END'
#include <drm/gpu_scheduler.h>
int pim_probe(struct drm_sched_job *j, struct drm_sched_entity *e);
int pim_probe(struct drm_sched_job *j, struct drm_sched_entity *e) { return drm_sched_job_init(j, e, 1, NULL); }
END
probe SCHED_JOB_CLIENT <<'END'
#include <drm/gpu_scheduler.h>
int pim_probe(struct drm_sched_job *j, struct drm_sched_entity *e);
int pim_probe(struct drm_sched_job *j, struct drm_sched_entity *e) { return drm_sched_job_init(j, e, 1, NULL, 1); }
END
probe SCHED_PRIORITY_LOW <<'END'
#include <drm/gpu_scheduler.h>
extern const enum drm_sched_priority pim_probe;
const enum drm_sched_priority pim_probe = DRM_SCHED_PRIORITY_LOW;
END
probe SCHED_PREPARE_JOB <<'END'
#include <drm/gpu_scheduler.h>
extern const struct drm_sched_backend_ops pim_probe;
const struct drm_sched_backend_ops pim_probe = { .prepare_job = NULL };
END
probe FENCE_ARRAY_ANY <<'END'
#include <linux/dma-fence-array.h>
struct dma_fence_array *pim_probe(struct dma_fence **f);
struct dma_fence_array *pim_probe(struct dma_fence **f) { return dma_fence_array_create(2, f, 1, 1, false); }
END
probe SHOW_FDINFO <<'END'
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <linux/fs.h>
extern const struct drm_driver pim_probe;
extern const struct file_operations pim_probe_fops;
const struct drm_driver pim_probe = { .show_fdinfo = NULL };
const struct file_operations pim_probe_fops = { .show_fdinfo = drm_show_fdinfo };
END
probe FILE_CLIENT_ID <<'END'
#include <drm/drm_file.h>
u64 pim_probe(struct drm_file *f);
u64 pim_probe(struct drm_file *f) { return f->client_id; }
END

objs=
for n in $names; do
	objs="$objs $n.o"
done
echo "obj-m := $objs" > "$dir/Kbuild"
# shellcheck disable=SC2086 # a list of words
${MAKE:-make} -k -s -C "$kdir" M="$(cd "$dir" && pwd)" "$@" $objs > "$dir/log" 2>&1 || :

if [ ! -f "$dir/CANARY.o" ]; then
	echo "probe: a plain DRM object does not compile against $kdir: install that kernel's headers; log in $dir/log" >&2
	exit 1
fi
if [ -f "$dir/CANARY_BAD.o" ]; then
	echo "probe: the compiler accepts a member that does not exist; log in $dir/log" >&2
	exit 1
fi

{
	echo "/* SPDX-License-Identifier: GPL-2.0-only */"
	echo "/* Written by kernel/probe.sh: what the headers of this kernel have. */"
	for n in $names; do
		case $n in CANARY*) continue ;; esac
		[ ! -f "$dir/$n.o" ] || echo "#define PIM_HAVE_$n 1"
	done
} > "$out.new"
mv "$out.new" "$out"
