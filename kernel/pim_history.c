// SPDX-License-Identifier: GPL-2.0-only
/* What a domain's last hand-overs were: a ring of records for debugfs, and the trace event. */
#include <linux/seq_file.h>

#include <drm/drm_managed.h>

#include "pim_drv.h"
#include "pim_trace.h"

#define PIM_RECORDS 32 /* a power of two */

struct pim_record {
	u64 when_ns;
	u64 client;
	u32 from;
	u32 to;
	u32 cause;
	pid_t pid;
	char comm[TASK_COMM_LEN];
};

/* One domain's. @n: records ever written */
struct pim_history {
	u64 n;
	struct pim_record record[PIM_RECORDS];
};

/* The card was told a new owner of a domain on behalf of that client. The caller has pim_auth.lock. */
void pim_history_add(struct pim_device *pim, u32 domain, u32 from, u32 to, enum pim_cause cause, u64 client, pid_t pid, const char *comm)
{
	struct pim_history *h = &pim->history[domain];
	struct pim_record *r = &h->record[h->n++ % PIM_RECORDS];

	lockdep_assert_held(&pim->auth.lock);
	r->when_ns = ktime_get_ns();
	r->client = client;
	r->from = from;
	r->to = to;
	r->cause = cause;
	r->pid = pid;
	strscpy(r->comm, comm, sizeof(r->comm));
	trace_pim_authority_switch(pim, domain, from, to, cause, client, pid);
}

/* Oldest first. Times are CLOCK_MONOTONIC. */
void pim_history_show(struct pim_device *pim, struct seq_file *m)
{
	static const char * const owners[] = { "host", "pim", "auto" };
	static const char * const causes[] = {
		[PIM_CAUSE_ACQUIRE] = "acquire",
		[PIM_CAUSE_RELEASE] = "release",
		[PIM_CAUSE_REVOKE] = "revoke",
		[PIM_CAUSE_YIELD] = "yield",
		[PIM_CAUSE_RETURN] = "return",
		[PIM_CAUSE_CLOSE] = "close",
	};
	const struct pim_record *r;
	struct pim_history *h;
	u64 i;
	u32 d;

	for (d = 0; d < pim->hw.domains; d++) {
		h = &pim->history[d];
		spin_lock(&pim->auth.lock);
		for (i = h->n > PIM_RECORDS ? h->n - PIM_RECORDS : 0; i < h->n; i++) {
			r = &h->record[i % PIM_RECORDS];
			seq_printf(m, "domain %u #%llu at %llu ns %s -> %s by %s of client %llu pid %d %s\n", d, i + 1, r->when_ns,
				   owners[r->from], owners[r->to], causes[r->cause], r->client, r->pid, r->comm);
		}
		spin_unlock(&pim->auth.lock);
	}
}

int pim_history_init(struct pim_device *pim)
{
	pim->history = drmm_kcalloc(&pim->drm, pim->hw.domains, sizeof(*pim->history), GFP_KERNEL);
	return pim->history ? 0 : -ENOMEM;
}
