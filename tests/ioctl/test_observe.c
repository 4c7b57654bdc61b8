/* SPDX-License-Identifier: MIT */
/* What an operator sees: trace events, fdinfo, debugfs, sysfs. */
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define TRACING "/sys/kernel/tracing"
#define DEBUG "/sys/kernel/debug"

/* All of a file, to be freed; NULL: it cannot be read. */
static char *read_file(const char *path)
{
	size_t size = 0, room = 65536;
	char *text = malloc(room);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	CHECK(text);
	if (fd < 0) {
		free(text);
		return NULL;
	}
	while ((n = read(fd, text + size, room - size - 1)) > 0) {
		size += (size_t)n;
		if (room - size < 4096)
			CHECK((text = realloc(text, room *= 2)));
	}
	text[size] = '\0';
	close(fd);
	if (!n)
		return text;
	free(text);
	return NULL;
}

/* A value of key=value or key:<tab>value in a line, up to blank or end of line; false: it has none. */
static bool value_of(const char *text, const char *key, char *value, size_t len)
{
	const char *p = strstr(text, key);
	size_t n;

	if (!p)
		return false;
	p += strlen(key);
	p += strspn(p, "\t ");
	n = strcspn(p, " \n");
	CHECK(n < len);
	memcpy(value, p, n);
	value[n] = '\0';
	return true;
}

/* -- fdinfo --------------------------------------------------------------------------------------------------------- */

static char *fdinfo(int fd)
{
	char path[64], *text;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	text = read_file(path);
	CHECK(text);
	return text;
}

static void fdinfo_text(int fd, const char *key, char value[64])
{
	char *text = fdinfo(fd);

	if (!value_of(text, key, value, 64))
		fail(__FILE__, __LINE__, "fdinfo has no %s", key);
	free(text);
}

static uint64_t fdinfo_number(int fd, const char *key)
{
	char value[64];

	fdinfo_text(fd, key, value);
	return strtoull(value, NULL, 0);
}

static void device_name(int fd, char name[64])
{
	char path[64], link[256];
	struct stat st;
	ssize_t n;

	CHECK_OK(fstat(fd, &st));
	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/device", major(st.st_rdev), minor(st.st_rdev));
	n = readlink(path, link, sizeof(link) - 1);
	CHECK(n > 0);
	link[n] = '\0';
	snprintf(name, 64, "%s", strrchr(link, '/') + 1);
}

static void standard_keys(void)
{
	int fd = dev_open(), other = dev_open(), same = dup(fd);
	char value[64], name[64];

	fdinfo_text(fd, "drm-driver:", value);
	CHECK(!strcmp(value, "pim"));
	device_name(fd, name);
	fdinfo_text(fd, "drm-pdev:", value);
	CHECK(!strcmp(value, name));
	CHECK(fdinfo_number(fd, "drm-client-id:"));
	CHECK(fdinfo_number(fd, "drm-client-id:") != fdinfo_number(other, "drm-client-id:"));
	CHECK_EQ(fdinfo_number(fd, "drm-client-id:"), fdinfo_number(same, "drm-client-id:"));
	CHECK_EQ(fdinfo_number(fd, "drm-engine-host:"), 0);
}

static void memory(void)
{
	int fd = dev_open(), other = dev_open();
	uint32_t window = gem(fd, 1 << 20, DRM_PIM_GEM_WINDOW, 0), a = gem(fd, 2 << 20, 0, 1);
	struct drm_prime_handle share = { .handle = a, .fd = -1 };

	CHECK_EQ(fdinfo_number(fd, "drm-total-domain1:"), 2048);
	CHECK_EQ(fdinfo_number(fd, "drm-resident-domain1:"), 2048);
	CHECK_EQ(fdinfo_number(fd, "drm-memory-domain1:"), 2048);
	CHECK_EQ(fdinfo_number(fd, "drm-shared-domain1:"), 0);
	CHECK_EQ(fdinfo_number(fd, "drm-total-window:"), 1024);
	CHECK_EQ(fdinfo_number(fd, "drm-total-domain0:"), 0);
	CHECK_EQ(fdinfo_number(other, "drm-total-domain1:"), 0);
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PRIME_HANDLE_TO_FD, &share));
	CHECK_EQ(fdinfo_number(fd, "drm-shared-domain1:"), 2048);
	CHECK_OK(pim_ioctl(other, DRM_IOCTL_PRIME_FD_TO_HANDLE, &share));
	CHECK_EQ(fdinfo_number(other, "drm-total-domain1:"), 2048);
	CHECK_EQ(fdinfo_number(other, "drm-shared-domain1:"), 2048);
	CHECK_OK(gem_close(other, share.handle));
	CHECK_EQ(fdinfo_number(other, "drm-total-domain1:"), 0);
	CHECK_OK(gem_close(fd, window));
	CHECK_OK(gem_close(fd, a));
	CHECK_EQ(fdinfo_number(fd, "drm-total-domain1:"), 0);
	CHECK_EQ(fdinfo_number(fd, "drm-total-window:"), 0);
}

static void engine_time(void)
{
	int fd = dev_open(), other = dev_open();
	uint32_t q = queue_new(fd), done = syncobj_new(fd);
	uint64_t first, second, after, t0 = in_ms(0), t1;

	gate_close(fd, q, done);
	first = fdinfo_number(fd, "drm-engine-host:");
	sleep_ms(100);
	second = fdinfo_number(fd, "drm-engine-host:");
	CHECK(second >= first + 100000000);
	gate_open(fd, q, 0);
	CHECK_OK(syncobj_wait(fd, done, 0, 10000));
	t1 = in_ms(0);
	after = fdinfo_number(fd, "drm-engine-host:");
	CHECK(after >= second);
	CHECK(after <= t1 - t0); /* never more than the time that went by */
	sleep_ms(20);
	CHECK_EQ(fdinfo_number(fd, "drm-engine-host:"), after);
	CHECK_EQ(fdinfo_number(fd, "pim-jobs-host:"), 1);
	CHECK_EQ(fdinfo_number(other, "drm-engine-host:"), 0);
	CHECK_EQ(fdinfo_number(other, "pim-jobs-host:"), 0);
}

static void claims_and_faults(void)
{
	int fd = dev_open(), pid, status;
	volatile uint32_t *p = gem_map(fd, gem(fd, 65536, 0, 1), 65536);

	CHECK_EQ(fdinfo_number(fd, "pim-authority-domains:"), 0);
	CHECK_OK(acquire(fd, 6, DRM_PIM_OWNER_PIM, 10000));
	CHECK_EQ(fdinfo_number(fd, "pim-authority-domains:"), 6);
	CHECK_EQ(fdinfo_number(fd, "pim-faults-waited:"), 0);
	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		*p = 1;
		_exit(0);
	}
	child_ended(pid, 100, &status);
	CHECK(fdinfo_number(fd, "pim-faults-waited:") > 0);
	CHECK_OK(release(fd, 6));
	CHECK_EQ(fdinfo_number(fd, "pim-authority-domains:"), 0);
}

/* -- trace events --------------------------------------------------------------------------------------------------- */

static void trace_on(void)
{
	if (access(TRACING "/events", F_OK)) /* pim-vm has mounted it */
		CHECK_OK(mount("tracefs", TRACING, "tracefs", 0, NULL));
	write_file(TRACING "/trace", "\n");
	write_file(TRACING "/events/pim/enable", "1");
}

static char *trace_off(void)
{
	char *text;

	write_file(TRACING "/events/pim/enable", "0");
	text = read_file(TRACING "/trace");
	CHECK(text);
	return text;
}

/* The next line with that event of that client, from *at on; NULL: none. */
static const char *event(const char **at, const char *name, uint64_t client)
{
	char key[64], value[64];
	const char *line;

	snprintf(key, sizeof(key), ": %s: ", name);
	while ((line = strstr(*at, key))) {
		*at = line + strlen(key);
		CHECK(value_of(line, "client=", value, sizeof(value)));
		if (strtoull(value, NULL, 0) == client)
			return line;
	}
	return NULL;
}

static void job_events(void)
{
	static const char *const names[] = { "pim_job_queue", "pim_job_run", "pim_job_done" };
	int fd = dev_open(), e, i, j;
	uint32_t q = queue_new(fd), done = syncobj_new(fd);
	uint64_t client = fdinfo_number(fd, "drm-client-id:");
	struct drm_pim_job jobs[4] = { job_nop(0), job_nop(0), job_nop(1), job_nop(1) };
	char fences[4][64], value[64], name[64], *text;
	const char *at, *line, *last[4] = { NULL };

	device_name(fd, name);
	trace_on();
	CHECK_OK(submit(fd, q, jobs, 4, 0, done, NULL));
	CHECK_OK(syncobj_wait(fd, done, 0, 10000));
	text = trace_off();

	for (e = 0; e < 3; e++) {
		at = text;
		for (i = 0; i < 4; i++) {
			line = event(&at, names[e], client);
			if (!line)
				fail(__FILE__, __LINE__, "%d events %s of client %llu", i, names[e], (unsigned long long)client);
			CHECK(value_of(line, "dev=", value, sizeof(value)));
			CHECK(!strcmp(value, name));
			CHECK(value_of(line, "fence=", value, sizeof(value)));
			if (!e) {
				strcpy(fences[i], value);
				last[i] = line;
				continue;
			}
			/* The engines are not ordered among each other: find it. */
			for (j = 0; j < 4 && strcmp(fences[j], value); j++)
				;
			if (j == 4)
				fail(__FILE__, __LINE__, "%s names fence %s, which was not queued", names[e], value);
			CHECK(line > last[j]);
			last[j] = line;
		}
		CHECK(!event(&at, names[e], client));
	}
	for (i = 0; i < 4; i++)
		for (e = 0; e < i; e++)
			CHECK(strcmp(fences[i], fences[e]));
	/* The second job of an engine has the first one's context and the next number. */
	CHECK_EQ(strtoull(fences[0], NULL, 10), strtoull(fences[1], NULL, 10));
	CHECK_EQ(strtoull(strchr(fences[0], ':') + 1, NULL, 10) + 1, strtoull(strchr(fences[1], ':') + 1, NULL, 10));
	free(text);
}

static void expect(const char **at, const char *name, uint64_t client, const char *pairs[][2])
{
	const char *line = event(at, name, client);
	char value[64] = "";
	int i;

	if (!line)
		fail(__FILE__, __LINE__, "no event %s where it is due", name);
	for (i = 0; pairs[i][0]; i++)
		if (!value_of(line, pairs[i][0], value, sizeof(value)) || strcmp(value, pairs[i][1]))
			fail(__FILE__, __LINE__, "%s: %s%s, not %s", name, pairs[i][0], value, pairs[i][1]);
}
#define EXPECT(at, name, client, ...) expect(at, name, client, (const char *[][2]){ __VA_ARGS__, { NULL, NULL } })

/* An acquire that leaves a fence, its switch, and the release. */
static void claim_events(void)
{
	int fd = dev_open();
	uint64_t client = fdinfo_number(fd, "drm-client-id:");
	struct drm_pim_sync out = { .handle = syncobj_new(fd) };
	struct drm_pim_authority acq = {
		.op = DRM_PIM_AUTHORITY_ACQUIRE,
		.domains = 6,
		.owner = DRM_PIM_OWNER_PIM,
		.timeout_ns = in_ms(10000),
		.nout = 1,
		.out_syncs = (uintptr_t)&out,
	};
	char name[64], pid[16], fence[64], *text;
	const char *at;

	device_name(fd, name);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	trace_on();
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &acq));
	CHECK_OK(release(fd, 6));
	text = trace_off();

	at = text;
	CHECK(value_of(event(&at, "pim_authority_request", client), "fence=", fence, sizeof(fence)));
	CHECK(strcmp(fence, "0:0"));
	at = text;
	EXPECT(&at, "pim_authority_request", client, { "dev=", name }, { "pid=", pid }, { "domains=", "0x6" }, { "owner=", "pim" });
	EXPECT(&at, "pim_authority_grant", client, { "dev=", name }, { "pid=", pid }, { "domains=", "0x6" }, { "fence=", fence });
	EXPECT(&at, "pim_authority_switch", client, { "dev=", name }, { "pid=", pid }, { "domain=", "1" }, { "from=", "host" },
	       { "to=", "pim" }, { "cause=", "acquire" });
	EXPECT(&at, "pim_authority_switch", client, { "domain=", "2" }, { "to=", "pim" }, { "cause=", "acquire" });
	EXPECT(&at, "pim_authority_release", client, { "dev=", name }, { "pid=", pid }, { "domains=", "0x6" },
	       { "owner=", "host" });
	EXPECT(&at, "pim_authority_switch", client, { "domain=", "1" }, { "from=", "pim" }, { "to=", "host" },
	       { "cause=", "release" });
	EXPECT(&at, "pim_authority_switch", client, { "domain=", "2" }, { "to=", "host" }, { "cause=", "release" });
	CHECK(!event(&at, "pim_authority_switch", client));
	free(text);
}

/* What the kernel does by itself: a CPU access makes the claim yield, its deadline ends it. */
static void kernel_events(void)
{
	int fd = dev_open();
	uint64_t client = fdinfo_number(fd, "drm-client-id:");
	volatile uint32_t *p = gem_map(fd, gem(fd, 65536, 0, 1), 65536);
	struct drm_pim_authority acq = {
		.op = DRM_PIM_AUTHORITY_ACQUIRE,
		.domains = 2,
		.owner = DRM_PIM_OWNER_PIM,
		.timeout_ns = in_ms(10000),
		.deadline_ns = in_ms(1500),
		.host_requests = 1,
	};
	uint64_t end = now_ms() + 10000;
	const char *at;
	char *text;

	trace_on();
	CHECK_OK(pim_ioctl(fd, DRM_IOCTL_PIM_AUTHORITY, &acq));
	*p = 1;
	while (authority(fd, 1).holder && now_ms() < end)
		sleep_ms(10);
	text = trace_off();

	at = text;
	EXPECT(&at, "pim_authority_switch", client, { "domain=", "1" }, { "cause=", "acquire" });
	EXPECT(&at, "pim_authority_yield", client, { "domains=", "0x2" }, { "owner=", "host" });
	EXPECT(&at, "pim_authority_switch", client, { "domain=", "1" }, { "to=", "host" }, { "cause=", "yield" });
	EXPECT(&at, "pim_authority_switch", client, { "domain=", "1" }, { "to=", "pim" }, { "cause=", "return" });
	EXPECT(&at, "pim_authority_revoke", client, { "domains=", "0x2" });
	EXPECT(&at, "pim_authority_switch", client, { "domain=", "1" }, { "to=", "host" }, { "cause=", "revoke" });
	free(text);
}

/* -- debugfs -------------------------------------------------------------------------------------------------------- */

static char *debugfs(int fd, const char *file)
{
	char path[128], *text;
	struct stat st;

	if (access(DEBUG "/dri", F_OK))
		CHECK_OK(mount("debugfs", DEBUG, "debugfs", 0, NULL));
	CHECK_OK(fstat(fd, &st));
	snprintf(path, sizeof(path), DEBUG "/dri/%u/%s", minor(st.st_rdev), file);
	text = read_file(path);
	if (!text)
		fail(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
	return text;
}

static void history(void)
{
	int fd = dev_open(), i, lines = 0;
	uint64_t client = fdinfo_number(fd, "drm-client-id:");
	char *text, *line, *last = NULL, want[64], comm[32];
	unsigned long long before = 0, at;

	for (i = 0; i < 20; i++) {
		CHECK_OK(acquire(fd, 1, DRM_PIM_OWNER_PIM, 10000));
		CHECK_OK(release(fd, 1));
	}
	text = debugfs(fd, "history");
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		if (strncmp(line, "domain 0 ", 9))
			continue;
		lines++;
		CHECK_EQ(sscanf(strstr(line, " at "), " at %llu", &at), 1);
		CHECK(at >= before && at <= in_ms(0));
		before = at;
		last = line;
	}
	CHECK_EQ(lines, 32);
	CHECK(strstr(last, "pim -> host by release"));
	snprintf(want, sizeof(want), "of client %llu pid %d", (unsigned long long)client, (int)getpid());
	CHECK(strstr(last, want));
	CHECK_EQ(sscanf(strstr(last, " pid "), " pid %*d %31s", comm), 1);
	CHECK(!strncmp(comm, "pim-ioctl", 9));
	free(text);
}

static void queue_depth(void)
{
	int fd = dev_open(), n = 0;
	uint32_t q = queue_new(fd), done = syncobj_new(fd), in = syncobj_new(fd);
	struct drm_pim_job jobs[3] = { job_nop(0), job_nop(0), job_nop(0) };
	char *text, *line, client[32];

	snprintf(client, sizeof(client), "client %llu ", (unsigned long long)fdinfo_number(fd, "drm-client-id:"));
	gate_close(fd, queue_new(fd), in);
	CHECK_OK(submit(fd, q, jobs, 3, in, done, NULL));
	text = debugfs(fd, "queues");
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (strstr(line, client) && strstr(line, "host submitted 3 depth 3 pim submitted 0 depth 0"))
			n++;
	CHECK_EQ(n, 1);
	free(text);
}

static void usage(void)
{
	int fd = dev_open();
	char *text, client[64], *at;

	gem(fd, 3 << 20, 0, 0);
	snprintf(client, sizeof(client), "client %llu pid %d ", (unsigned long long)fdinfo_number(fd, "drm-client-id:"),
		 (int)getpid());
	text = debugfs(fd, "usage");
	at = strstr(text, client);
	CHECK(at);
	CHECK(value_of(at, "drm-total-domain0:", client, sizeof(client)) && !strcmp(client, "3072"));
	free(text);
}

/* -- sysfs ---------------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint32_t param;
} attrs[] = {
	{ "bank_groups", DRM_PIM_PARAM_BANK_GROUPS },
	{ "banks", DRM_PIM_PARAM_BANKS },
	{ "banks_per_unit", DRM_PIM_PARAM_BANKS_PER_UNIT },
	{ "domain_bytes", DRM_PIM_PARAM_DOMAIN_BYTES },
	{ "domain_pcs", DRM_PIM_PARAM_DOMAIN_PCS },
	{ "domains", DRM_PIM_PARAM_DOMAINS },
	{ "pcs", DRM_PIM_PARAM_PCS },
	{ "resets", DRM_PIM_PARAM_RESETS },
	{ "ring_entries", DRM_PIM_PARAM_RING_ENTRIES },
	{ "row_bytes", DRM_PIM_PARAM_ROW_BYTES },
	{ "rows", DRM_PIM_PARAM_ROWS },
	{ "stacks", DRM_PIM_PARAM_STACKS },
	{ "stripe_bytes", DRM_PIM_PARAM_STRIPE_BYTES },
	{ "tck_ps", DRM_PIM_PARAM_TCK_PS },
	{ "window_bytes", DRM_PIM_PARAM_WINDOW_BYTES },
};

static char *attr(const char *device, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/pim/%s", device, name);
	return read_file(path);
}

static void geometry(void)
{
	int fd = dev_open();
	char device[64], path[128], want[80], text[65] = "", *have;
	unsigned int n = 0;
	struct dirent *e;
	uint64_t v;
	size_t i;
	DIR *dir;

	device_name(fd, device);
	for (i = 0; i < sizeof(attrs) / sizeof(attrs[0]); i++) {
		have = attr(device, attrs[i].name);
		if (!have)
			fail(__FILE__, __LINE__, "no attribute %s", attrs[i].name);
		snprintf(want, sizeof(want), "%llu\n", (unsigned long long)param(fd, attrs[i].param));
		if (strcmp(have, want))
			fail(__FILE__, __LINE__, "%s is %s, GET_PARAM says %s", attrs[i].name, have, want);
		free(have);
	}
	have = attr(device, "abi");
	snprintf(want, sizeof(want), "%u.%u\n", (unsigned int)param(fd, DRM_PIM_PARAM_ABI_MAJOR),
		 (unsigned int)param(fd, DRM_PIM_PARAM_ABI_MINOR));
	CHECK(have && !strcmp(have, want));
	free(have);
	for (i = 0; i < 8; i++) {
		v = param(fd, DRM_PIM_PARAM_NAME0 + (uint32_t)i);
		memcpy(text + 8 * i, &v, 8);
	}
	have = attr(device, "name");
	snprintf(want, sizeof(want), "%s\n", text);
	CHECK(have && !strcmp(have, want));
	free(have);

	/* All of them were looked at. */
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/pim", device);
	dir = opendir(path);
	CHECK(dir);
	while ((e = readdir(dir)))
		n += e->d_name[0] != '.';
	closedir(dir);
	CHECK_EQ(n, sizeof(attrs) / sizeof(attrs[0]) + 2);
}

struct looker {
	char device[64];
	int fd;
	unsigned int minor;
};

static void look(void *arg)
{
	static const char *const files[] = { "state", "queues", "usage", "history" };
	struct looker *l = arg;
	char path[128];
	size_t i;

	for (;;) {
		for (i = 0; i < sizeof(attrs) / sizeof(attrs[0]); i++)
			free(attr(l->device, attrs[i].name));
		for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
			snprintf(path, sizeof(path), DEBUG "/dri/%u/%s", l->minor, files[i]);
			free(read_file(path));
		}
		free(fdinfo(l->fd));
	}
}

/* Files may be gone or say that the device is; nothing hangs, and the kernel's log is looked at after the test. */
static void unbound(void)
{
	struct looker l = { .fd = dev_open() };
	struct stat st;
	int pid, i, status;
	char *text;

	device_name(l.fd, l.device);
	CHECK_OK(fstat(l.fd, &st));
	l.minor = minor(st.st_rdev);
	free(debugfs(l.fd, "state")); /* mounted */
	pid = child(look, &l);
	for (i = 0; i < 5; i++) {
		sleep_ms(20);
		driver_file("unbind", l.device);
		text = fdinfo(l.fd); /* the file of the card that is gone */
		CHECK(!strstr(text, "drm-"));
		free(text);
		CHECK(!attr(l.device, "domains"));
		sleep_ms(20);
		driver_file("bind", l.device);
	}
	CHECK(!child_ended(pid, 0, &status));
	CHECK_OK(kill(pid, SIGKILL));
	CHECK(child_ended(pid, 5000, &status));
	CHECK_EQ(fdinfo_number(dev_open(), "pim-jobs-host:"), 0);
}

const struct test observe_tests[] = {
	{ "fdinfo has DRM's standard keys, and a client keeps its id over dup", standard_keys },
	{ "fdinfo counts the buffers that a client has handles of, by domain", memory },
	{ "fdinfo's engine time is the time that a job of the client is the oldest one in its ring", engine_time },
	{ "fdinfo names the domains a client claims and counts its CPU accesses that had to wait", claims_and_faults },
	{ "the events of a job, queue, run and done, name one client and one fence", job_events },
	{ "the events of a claim say who asked, got and gave back what, and name the fence of out_syncs", claim_events },
	{ "the events of a claim that yields and is revoked say so", kernel_events },
	{ "debugfs keeps the last 32 hand-overs of a domain", history },
	{ "debugfs tells how many jobs of a queue are not done", queue_depth },
	{ "debugfs tells what each client uses", usage },
	{ "sysfs has the geometry that GET_PARAM tells", geometry },
	{ "fdinfo, debugfs and sysfs are read while the card is unbound", unbound },
	TEST_END
};
