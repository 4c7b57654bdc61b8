// SPDX-License-Identifier: GPL-2.0-only
#include "pim_policy.h"

static u64 pim_after(u64 time, u64 ns)
{
	return ns > PIM_NEVER - time ? PIM_NEVER : time + ns;
}

/* Is this time over? If not, ask again then. */
static bool pim_over(u64 time, u64 now, u64 *next)
{
	if (now >= time)
		return true;
	if (time < *next)
		*next = time;
	return false;
}

/* May the claim go on? Lowers *next to when to ask again. */
enum pim_verdict pim_policy_claim(const struct pim_policy *p, u64 now, u64 *next)
{
	return p->deadline && pim_over(p->deadline, now, next) ? PIM_REVOKE : PIM_KEEP;
}

/*
 * May PIM keep the domain that it has had since start? Enough host requests end the tenure once it lasted for min_ns; one that has waited for
 * max_ns ends it in any case. Lowers *next to when to ask again if nothing else happens.
 */
enum pim_verdict pim_policy_tenure(const struct pim_policy *p, u64 start, const struct pim_demand *demand, u64 now, u64 *next)
{
	if (!demand->waiting)
		return PIM_KEEP;
	if (p->host_requests && demand->waiting >= p->host_requests && pim_over(pim_after(start, p->min_ns), now, next))
		return PIM_YIELD;
	return pim_over(pim_after(demand->since, p->max_ns), now, next) ? PIM_YIELD : PIM_KEEP;
}
