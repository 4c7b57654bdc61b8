// SPDX-License-Identifier: MIT
/* Networks as text: the same layers back, errors with their line, and nothing worse than an error for any text. */
#include <check.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <pim/device.h>
#include <pim/zoo.h>

#include "net.h"
#include "run_suite.h"

/* Sanitizers make a text ten times slower. */
#ifdef PIM_SANITIZE
#define MUTATIONS 1000
#else
#define MUTATIONS 10000
#endif
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static char *print(const struct pim_net *net)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	ck_assert_msg(!pim_net_print(net, f), "%s", pim_strerror());
	fclose(f);
	return text;
}

static struct pim_net *parse(const char *text)
{
	struct pim_net *net = NULL;

	ck_assert_msg(!pim_net_parse(text, "text", &net), "%s", pim_strerror());
	return net;
}

static void same_layers(const struct pim_net *a, const struct pim_net *b)
{
	ck_assert_int_eq(a->n, b->n);
	for (int i = 0; i < a->n; i++) {
		const struct layer *p = &a->layer[i], *q = &b->layer[i];

		ck_assert_int_eq(p->kind, q->kind);
		ck_assert_str_eq(p->name, q->name);
		ck_assert(p->nin == q->nin && !memcmp(p->in, q->in, sizeof(p->in)) && p->nusers == q->nusers);
		ck_assert(p->c == q->c && p->h == q->h && p->w == q->w);
		ck_assert(p->kh == q->kh && p->kw == q->kw && p->sh == q->sh && p->sw == q->sw);
		ck_assert(p->ph == q->ph && p->pw == q->pw && p->dh == q->dh && p->dw == q->dw);
		ck_assert(p->groups == q->groups && p->bias == q->bias && p->linear == q->linear);
		ck_assert(p->ceil == q->ceil && p->exclude_pad == q->exclude_pad && p->act == q->act);
		ck_assert(!memcmp(&p->slope, &q->slope, sizeof(float)) && !memcmp(&p->p, &q->p, sizeof(float)));
		ck_assert(!memcmp(&p->eps, &q->eps, sizeof(float)) && !memcmp(&p->momentum, &q->momentum, sizeof(float)));
	}
}

static void round_trip(const struct pim_net *net)
{
	char *text = print(net), *again;
	struct pim_net *back = parse(text);

	same_layers(net, back);
	again = print(back);
	ck_assert_str_eq(text, again);
	pim_net_free(back);
	free(again);
	free(text);
}

START_TEST(stock_networks_read_back_as_they_are)
{
	for (unsigned int i = 0; pim_zoo_name(i); i++) {
		struct pim_net *net = pim_zoo(pim_zoo_name(i), NULL);

		round_trip(net);
		pim_net_free(net);
	}
}
END_TEST

/* Every option of net.h, with numbers that need all their digits. */
static struct pim_net *everything(void)
{
	struct pim_net *net = pim_net_new();
	int x = pim_net_input(net, 6, 20, 24), y, z;

	y = pim_net_conv_with(net, x, "l1",
			      &(struct pim_conv){ .out = 12,
						  .k = { 3, 2 },
						  .stride = { 1, 2 },
						  .pad = { 2, 1 },
						  .dilation = { 2, 1 },
						  .groups = 3,
						  .bias = true });
	y = pim_net_bn_with(net, y, "l3", 1.0f / 3, 1e-38f);
	y = pim_net_act(net, y, PIM_LEAKY_RELU, 0.1f);
	y = pim_net_act(net, pim_net_relu(net, y), PIM_RELU6, 0);
	y = pim_net_maxpool_with(net, y, &(struct pim_pool){ .k = { 3, 2 }, .stride = { 2, 3 }, .pad = { 1, 0 }, .ceil = true });
	y = pim_net_avgpool_with(net, y,
				 &(struct pim_pool){ .k = { 2, 3 }, .stride = { 1, 1 }, .pad = { 1, 1 }, .exclude_pad = true });
	z = pim_net_global_avgpool(net, y);
	z = pim_net_act(net, pim_net_act(net, z, PIM_SILU, 0), PIM_SIGMOID, 0);
	y = pim_net_mul(net, y, z);
	y = pim_net_add(net, y, y);
	y = pim_net_concat(net, (int[]){ y, y, y, y, y, y, y, y }, 8);
	y = pim_net_dropout(net, y, 0.123456789f);
	pim_net_softmax_ce_with(net, pim_net_linear(net, y, "a.very-odd_name:(7),l4", 10), 0.1f);
	return net;
}

START_TEST(every_option_reads_back_as_it_is)
{
	struct pim_net *net = everything();

	round_trip(net);
	pim_net_free(net);
}
END_TEST

/* Nine digits suffice; a decimal comma, where there is that locale, changes nothing. */
START_TEST(floats_read_back_bit_by_bit)
{
	setlocale(LC_ALL, "de_DE.UTF-8");
	for (uint32_t i = 0; i < 2000; i++) {
		uint32_t bits = 0x3f800000u - (i < 1000 ? i + 1 : i * 523987u % 0x3f800000u + 1);
		struct pim_net *net = pim_net_new();
		float r;

		memcpy(&r, &bits, sizeof(r));
		if (r == 0)
			r = 1e-45f;
		pim_net_softmax_ce_with(net, pim_net_bn_with(net, pim_net_input(net, 3, 1, 1), "b", r, r), r);
		round_trip(net);
		pim_net_free(net);
	}
	setlocale(LC_ALL, "C");
}
END_TEST

START_TEST(text_means_what_the_calls_do)
{
	struct pim_net *net = pim_net_new();
	struct pim_net *back = parse("# comment\n\n"
				     "image\tinput shape=6x20x24 # another\r\n"
				     "c conv image out=8 k=3x5 stride=2 pad=1x2\n"
				     "  b bn c\n"
				     "r relu b\n"
				     "p maxpool r k=2\n"
				     "d avgpool p k=2 stride=1x1 ceil=no\n"
				     "g global_avgpool d\n"
				     "f linear g out=10\n"
				     "loss softmax_ce f");
	int x = pim_net_input(net, 6, 20, 24);

	x = pim_net_conv_with(net, x, "c", &(struct pim_conv){ .out = 8, .k = { 3, 5 }, .stride = { 2, 2 }, .pad = { 1, 2 } });
	x = pim_net_maxpool(net, pim_net_relu(net, pim_net_bn(net, x, "b")), 2);
	x = pim_net_avgpool_with(net, x, &(struct pim_pool){ .k = { 2, 2 }, .stride = { 1, 1 } });
	pim_net_softmax_ce(net, pim_net_linear(net, pim_net_global_avgpool(net, x), "f", 10));
	same_layers(net, back);
	pim_net_free(net);
	pim_net_free(back);
}
END_TEST

/* Lines that follow "x input shape=3x8x8" and "c conv x out=4 k=3", and what is said about the last of them. */
static const struct {
	const char *text, *message;
} malformed[] = {
	{ "c", "text:3: there is a layer named \"c\" above" },
	{ "r", "text:3: a line is NAME KIND INPUT... KEY=VALUE...; after \"r\" is no kind" },
	{ "r rleu c",
	  "text:3: \"rleu\" is no kind of layer; there are input, conv, linear, bn, relu, relu6, leaky_relu, sigmoid, silu, add, "
	  "mul, concat, maxpool, avgpool, global_avgpool, dropout, softmax_ce" },
	{ "r act c", "text:3: \"act\" is no kind of layer" },
	{ "r=1 relu c", "text:3: \"r=1\": a name is" },
	{ "\xc3\xa4 relu c", "a name is" },
	{ "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn relu c", "a name is 1..63" },
	{ "r relu d\nd relu c", "text:3: no line above is named \"d\"" },
	{ "r relu r", "text:3: no line above is named \"r\"" },
	{ "\n\n# d\nr relu d", "text:6: no line above is named \"d\"" },
	{ "r relu", "text:3: relu: too few inputs; it has 1" },
	{ "r add c", "text:3: add: too few inputs; it has 2" },
	{ "r concat c", "text:3: concat: too few inputs; it has 2 or more" },
	{ "r relu c c", "text:3: relu: too many inputs; it has 1" },
	{ "r concat c c c c c c c c c", "text:3: concat: too many inputs; it has 8" },
	{ "y input x shape=1x1x1", "text:3: input: too many inputs; it has 0" },
	{ "y input shape=1x1x1", "text:3: input: a network has one input" },
	{ "y input", "text:3: input needs shape" },
	{ "d conv c", "text:3: conv needs out, k" },
	{ "d conv c k=3", "text:3: conv needs out" },
	{ "d linear c", "text:3: linear needs out" },
	{ "r leaky_relu c", "text:3: leaky_relu needs slope" },
	{ "p maxpool c stride=2", "text:3: maxpool needs k" },
	{ "p dropout c", "text:3: dropout needs p" },
	{ "d conv c out=4 k=3 padding=1",
	  "text:3: conv has no key \"padding\"; its keys: out, k, stride, pad, dilation, groups, bias" },
	{ "r relu c slope=0.1", "text:3: relu has no key \"slope\"; its keys: none" },
	{ "b bn c =1", "text:3: bn has no key \"\"; its keys: eps, momentum" },
	{ "d conv c out=4 k=3 out=5", "text:3: out is there twice" },
	{ "d conv out=4 c k=3", "text:3: \"c\" after the keys" },
	{ "d conv c out= k=3", "text:3: out=: it is a whole number" },
	{ "d conv c out=4x4 k=3", "out=4x4: it is a whole number" },
	{ "d conv c out=-4 k=3", "out=-4: it is a whole number" },
	{ "d conv c out=+4 k=3", "out=+4: it is a whole number" },
	{ "d conv c out=4294967296 k=3", "out=4294967296: it is a whole number" },
	{ "d conv c out=99999999999999999999999999 k=3", "it is a whole number" },
	{ "d conv c out=4 k=3x", "k=3x: it is a whole number above 0 or HEIGHTxWIDTH" },
	{ "d conv c out=4 k=3x3x3", "k=3x3x3: it is" },
	{ "d conv c out=4 k=0", "k=0: it is a whole number above 0" },
	{ "d conv c out=4 k=3 stride=0", "stride=0: it is a whole number above 0" },
	{ "d conv c out=4 k=3 dilation=1x0", "dilation=1x0: it is a whole number above 0" },
	{ "d conv c out=4 k=3 groups=0", "groups=0: it is a whole number above 0" },
	{ "d conv c out=4 k=3 bias=true", "bias=true: it is yes or no" },
	{ "d conv c out=4 k=3 pad=1.5", "pad=1.5: it is a whole number or HEIGHTxWIDTH" },
	{ "b bn c eps=1e-5f", "eps=1e-5f: it is a decimal number" },
	{ "b bn c eps=nan", "eps=nan: it is a decimal number" },
	{ "b bn c eps=inf", "eps=inf: it is" },
	{ "b bn c eps=0x1p-3", "eps=0x1p-3: it is" },
	{ "b bn c eps=1e99", "eps=1e99: it is" },
	{ "b bn c eps=", "eps=: it is" },
	{ "b bn c eps=0,5", "eps=0,5: it is" },
	{ "b bn c eps=0", "text:3: bn b: eps 0" },
	{ "b bn c eps=0.1 momentum=2", "text:3: bn b: eps 0.1, momentum 2" },
	{ "d conv c out=0 k=3", "text:3: conv d: out 0" },
	{ "d conv c out=4 k=7", "text:3: conv d: kernel 7x7, dilation 1x1, is larger than its input, layer 1 (conv c, 4x6x6)" },
	{ "a add x c", "text:3: add: layer 0 (input, 3x8x8) and layer 1 (conv c, 4x6x6) differ in shape" },
	{ "m mul c x", "text:3: mul: " },
	{ "s softmax_ce c", "text:3: softmax_ce: its input is layer 1 (conv c, 4x6x6)" },
	{ "f linear c out=5\ns softmax_ce f\nt relu s", "text:5: act: nothing can follow the loss" },
	{ "f linear c out=5\ns softmax_ce f smoothing=1", "text:4: softmax_ce: label smoothing 1" },
	{ "# no more", "text:3: the network must begin with an input and end with softmax_ce" },
	{ "r relu c\n\nf linear c out=5\ns softmax_ce f\n", "text:3: layer 2 (relu, 4x6x6): nothing uses its output" },
};

static void refused(const char *text, int want, const char *message)
{
	struct pim_net *const mark = (struct pim_net *)&malformed, *net = mark;
	int err = pim_net_parse(text, "text", &net);

	ck_assert_msg(err == want, "%d (%s), not %d, for: %s", err, err ? pim_strerror() : "read", want, message);
	ck_assert_ptr_eq(net, mark);
	ck_assert_msg(strstr(pim_strerror(), message), "\"%s\" does not say \"%s\"", pim_strerror(), message);
}

START_TEST(malformed_text_is_refused_with_line_and_reason)
{
	char text[1024];

	snprintf(text, sizeof(text), "x input shape=3x8x8\nc conv x out=4 k=3\n%s", malformed[_i].text);
	refused(text, -EINVAL, malformed[_i].message);
}
END_TEST

START_TEST(text_without_a_beginning_is_refused)
{
	refused("", -EINVAL, "text:0: the network must begin with an input");
	refused("\n", -EINVAL, "text:1: the network must begin with an input");
	refused("r relu x", -EINVAL, "text:1: no line above is named \"x\"");
	refused("x input shape=3x8\n", -EINVAL, "text:1: shape=3x8: it is CHANNELSxHEIGHTxWIDTH");
	refused("x input shape=3x8x0\n", -EINVAL, "text:1: input: 3x8x0 is no image");
	refused("x input shape=1x1x70000\n", -EINVAL, "text:1: input: 1x1x70000 is no image");
}
END_TEST

START_TEST(sizes_are_limited)
{
	size_t big = (1 << 20) + 1;
	char *text = malloc(big + 1), *p = text;

	memset(text, '#', big);
	text[big] = 0;
	refused(text, -E2BIG, "text: larger than 1048576 bytes");
	text[big - 1] = 0;
	refused(text, -EINVAL, "text:1: a line of 1048576 characters; 1023 are possible");
	memset(text, ' ', 2048);
	text[1023] = '\n';
	text[1024 + 1024] = 0;
	refused(text, -EINVAL, "text:2: a line of 1024 characters");
	p += sprintf(p, "x input shape=1x1x1\n");
	for (int i = 1; i <= 4096; i++)
		p += sprintf(p, "%x relu x\n", i);
	refused(text, -E2BIG, "text:4097: more than 4096 layers");
	free(text);
}
END_TEST

START_TEST(files_are_written_and_read)
{
	char dir[] = "/tmp/pim-net-XXXXXX", path[64], want[128];
	struct pim_net *net = everything(), *back = NULL;
	FILE *f;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/net", dir);
	ck_assert_int_eq(pim_net_read(path, &back), -ENOENT);
	ck_assert_ptr_nonnull(strstr(pim_strerror(), path));
	ck_assert_int_eq(pim_net_write(net, path), 0);
	ck_assert_msg(!pim_net_read(path, &back), "%s", pim_strerror());
	same_layers(net, back);
	pim_net_free(back);
	pim_net_free(net);

	f = fopen(path, "w");
	fputs("x input shape=1x1x1\nr relu y\n", f);
	fclose(f);
	ck_assert_int_eq(pim_net_read(path, &back), -EINVAL);
	snprintf(want, sizeof(want), "%s:2: no line above is named \"y\"", path);
	ck_assert_str_eq(pim_strerror(), want);
	f = fopen(path, "w");
	fwrite("x input\0", 1, 8, f);
	fclose(f);
	ck_assert_int_eq(pim_net_read(path, &back), -EINVAL);
	ck_assert_ptr_nonnull(strstr(pim_strerror(), "zero byte"));
	ck_assert_int_eq(truncate(path, 2 << 20), 0);
	ck_assert_int_lt(pim_net_read(path, &back), 0);
	unlink(path);
	ck_assert_int_lt(pim_net_read(dir, &back), 0);
	ck_assert_ptr_nonnull(strstr(pim_strerror(), "directory"));
	rmdir(dir);

	net = pim_net_digits(16);
	ck_assert_int_eq(pim_net_write(net, "/nowhere/net"), -ENOENT);
	ck_assert_int_lt(pim_net_write(net, "/dev/full"), 0);
	ck_assert_ptr_nonnull(strstr(pim_strerror(), "/dev/full"));
	pim_net_free(net);
	net = pim_net_new();
	pim_net_input(net, 1, 1, 1);
	ck_assert_int_eq(pim_net_write(net, "/nowhere/net"), -EINVAL);
	ck_assert_int_eq(pim_net_print(net, stdout), -EINVAL);
	pim_net_free(net);
}
END_TEST

/* -- any text ------------------------------------------------------------------------------------------------------------- */
static uint64_t state;

static uint32_t roll(uint32_t n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % n;
}

/* A mistake of a kind that people or bad disks make. */
static void mutate(char *text, size_t room)
{
	static const char *const odd[] = { "=",	   "x",	      "0",	 "-1",	   "4294967295", "65536", "#",	  "\n",
					   " ",	   "\t",      "nan",	 "1e38",   "k=3",	 "l1",	  "relu", "concat",
					   "conv", "stride=", "groups=", "shape=", "yes",	 "%s%n" };
	size_t n = strlen(text), at = roll((uint32_t)n + 1), len = roll(12), to;
	const char *word = odd[roll(ARRAY_SIZE(odd))];

	if (at + len > n)
		len = n - at;
	switch (roll(5)) {
	case 0: /* a part is lost */
		memmove(text + at, text + at + len, n - at - len + 1);
		break;
	case 1: /* a word comes in */
		if (n + strlen(word) < room) {
			memmove(text + at + strlen(word), text + at, n - at + 1);
			memcpy(text + at, word, strlen(word));
		}
		break;
	case 2: /* a part is copied over another */
		to = roll((uint32_t)n + 1);
		memmove(text + to, text + at, to + len > n ? n - to : len);
		break;
	case 3: /* a byte changes */
		if (at < n)
			text[at] = (char)(1 + roll(255));
		break;
	case 4: /* the end is lost, seldom */
		if (!roll(8))
			text[at] = 0;
		break;
	}
}

START_TEST(any_text_is_a_network_or_an_error)
{
	const char *seed = getenv("PIM_SEED");
	unsigned long first = seed ? strtoul(seed, NULL, 0) : (unsigned long)time(NULL);
	struct pim_net *all = everything(), *digits = pim_net_digits(4);
	char *text[2] = { print(all), print(digits) }, *buf;
	unsigned int read = 0;

	printf("net_text: PIM_SEED=%lu\n", first);
	fflush(stdout);
	state = first;
	for (int i = 0; i < MUTATIONS; i++) {
		struct pim_net *net = NULL;
		size_t room = 8192;

		buf = calloc(1, room);
		strcpy(buf, text[i & 1]);
		for (uint32_t k = roll(4) + 1; k; k--)
			mutate(buf, room);
		if (!pim_net_parse(buf, "text", &net)) {
			read++;
			round_trip(net);
			pim_net_free(net);
		} else {
			ck_assert_ptr_null(net);
			ck_assert_msg(!strncmp(pim_strerror(), "text:", 5), "%s", pim_strerror());
		}
		free(buf);
	}
	/* Neither of the two ways is dead. */
	ck_assert_uint_gt(read, MUTATIONS / 100);
	ck_assert_uint_lt(read, MUTATIONS - MUTATIONS / 100);
	free(text[0]);
	free(text[1]);
	pim_net_free(all);
	pim_net_free(digits);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("net_text");
	TCase *tc = tcase_create("text");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, stock_networks_read_back_as_they_are);
	tcase_add_test(tc, every_option_reads_back_as_it_is);
	tcase_add_test(tc, floats_read_back_bit_by_bit);
	tcase_add_test(tc, text_means_what_the_calls_do);
	tcase_add_loop_test(tc, malformed_text_is_refused_with_line_and_reason, 0, (int)ARRAY_SIZE(malformed));
	tcase_add_test(tc, text_without_a_beginning_is_refused);
	tcase_add_test(tc, sizes_are_limited);
	tcase_add_test(tc, files_are_written_and_read);
	tcase_add_test(tc, any_text_is_a_network_or_an_error);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
