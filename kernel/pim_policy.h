/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * When does a tenure end? Pure logic: what a claim asked for, what waits for HOST, and the time, in; a verdict and when to ask again,
 * out. Also built in user space, for its tests. All times in ns of one clock.
 */
#ifndef PIM_POLICY_H
#define PIM_POLICY_H

#include <linux/types.h>

#define PIM_NEVER (~0ull)

/*
 * struct pim_policy - what a claim asked for, see struct drm_pim_authority
 * @deadline: zero for none
 */
struct pim_policy {
	u64 deadline;
	u64 min_ns;
	u64 max_ns;
	u32 host_requests;
};

/*
 * struct pim_demand - host requests that wait
 * @since: when the oldest of them began to
 */
struct pim_demand {
	u32 waiting;
	u64 since;
};

enum pim_verdict {
	PIM_KEEP,
	PIM_YIELD, /* lend the domain to HOST for a moment */
	PIM_REVOKE, /* end the claim */
};

enum pim_verdict pim_policy_claim(const struct pim_policy *p, u64 now, u64 *next);
enum pim_verdict pim_policy_tenure(const struct pim_policy *p, u64 start, const struct pim_demand *demand, u64 now, u64 *next);

#endif
