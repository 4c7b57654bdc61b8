// SPDX-License-Identifier: MIT
#include <errno.h>
#include <math.h>

#include "error.h"
#include "optimizer.h"

/* By squaring, so that every machine gets the same bits; pow() leaves that to the C library. */
static double power(double x, uint64_t n)
{
	double y = 1;

	for (; n; n >>= 1, x *= x)
		if (n & 1)
			y *= x;
	return y;
}

static void sgd_params(const struct pim_train_options *opt, double lr, uint64_t t, float param[])
{
	(void)t;
	param[0] = opt->weight_decay;
	param[1] = opt->momentum;
	param[2] = (float)-lr;
}

static void adam_params(const struct pim_train_options *opt, double lr, uint64_t t, float param[])
{
	param[0] = opt->weight_decay;
	param[1] = (float)opt->beta1;
	param[2] = (float)(-lr / (1 - power(opt->beta1, t)));
	param[3] = (float)(1 / sqrt(1 - power(opt->beta2, t)));
	param[4] = (float)opt->epsilon;
	param[5] = (float)(1 - opt->beta1);
	param[6] = (float)opt->beta2;
	param[7] = (float)(1 - opt->beta2);
}

static void adamw_params(const struct pim_train_options *opt, double lr, uint64_t t, float param[])
{
	adam_params(opt, lr, t, param);
	param[0] = (float)(1 - lr * (double)opt->weight_decay);
}

static const struct optimizer optimizers[] = {
	[PIM_SGD] = { "sgd", "sgd", 1, { "momentum" }, 5, sgd_params },
	[PIM_NESTEROV] = { "nesterov", "sgd_nesterov", 1, { "momentum" }, 5, sgd_params },
	[PIM_ADAM] = { "adam", "adam", 2, { "exp_avg", "exp_avg_sq" }, 7, adam_params },
	[PIM_ADAMW] = { "adamw", "adamw", 2, { "exp_avg", "exp_avg_sq" }, 7, adamw_params },
};

static int bad(const char *what, double v, const char *range)
{
	return pim_error(-EINVAL, "%s is %g; it is %s", what, v, range);
}

const struct optimizer *optimizer_find(const struct pim_train_options *opt)
{
	unsigned int n = sizeof(optimizers) / sizeof(optimizers[0]);
	int err = 0;

	if ((unsigned int)opt->optimizer >= n)
		err = pim_error(-EINVAL, "optimizer %d: there are 0..%u", (int)opt->optimizer, n - 1);
	else if (!(opt->momentum >= 0 && opt->momentum < 1))
		err = bad("momentum", (double)opt->momentum, "0 or more and below 1");
	else if (!(opt->weight_decay >= 0 && opt->weight_decay <= 1))
		err = bad("weight decay", (double)opt->weight_decay, "0..1");
	else if (optimizers[opt->optimizer].nstates == 2 && !(opt->beta1 >= 0 && opt->beta1 < 1))
		err = bad("beta1", opt->beta1, "0 or more and below 1");
	else if (optimizers[opt->optimizer].nstates == 2 && !(opt->beta2 >= 0 && opt->beta2 < 1))
		err = bad("beta2", opt->beta2, "0 or more and below 1");
	else if (optimizers[opt->optimizer].nstates == 2 && !(opt->epsilon > 0 && opt->epsilon < 1))
		err = bad("epsilon", opt->epsilon, "above 0 and below 1");
	return err ? NULL : &optimizers[opt->optimizer];
}
