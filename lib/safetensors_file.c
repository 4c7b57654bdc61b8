// SPDX-License-Identifier: MIT
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "safetensors.h"

#define HEADER_MAX 100000000u /* the format's own limit */
#define HEADER_ALIGN 8u

_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "tensors are little-endian in the file and copied as they are");

/* -- reading ---------------------------------------------------------------------------------------------------------- */

/* A tensor as the header tells it. */
struct entry {
	const char *name;
	enum pim_dtype dtype;
	uint32_t ndims;
	uint64_t dim[PIM_TENSOR_DIMS];
	uint64_t begin, end;
};

static int read_all(const char *path, unsigned char **data, uint64_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint64_t at = 0;
	int err;

	if (fd < 0)
		return pim_error(-errno, "%s: %s", path, strerror(errno));
	*data = NULL;
	if (fstat(fd, &st)) {
		err = pim_error(-errno, "%s: %s", path, strerror(errno));
		goto close;
	}
	if (!S_ISREG(st.st_mode)) {
		err = pim_error(-EINVAL, "%s: not a regular file", path);
		goto close;
	}
	*bytes = st.st_size;
	*data = malloc(*bytes ? *bytes : 1);
	if (!*data) {
		err = pim_error(-ENOMEM, "%s: no memory for %" PRIu64 " bytes", path, *bytes);
		goto close;
	}
	while (at < *bytes) {
		ssize_t n = read(fd, *data + at, *bytes - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err = n ? pim_error(-errno, "%s: %s", path, strerror(errno)) : pim_error(-EINVAL, "%s: the file shrank while it was read", path);
			goto free;
		}
		at += n;
	}
	close(fd);
	return 0;

free:
	free(*data);
close:
	close(fd);
	return err;
}

/* A JSON integer that is not negative. */
static int get_u64(struct json_object *obj, uint64_t *value)
{
	if (!json_object_is_type(obj, json_type_int) || json_object_get_int64(obj) < 0)
		return -EINVAL;
	*value = json_object_get_uint64(obj);
	return 0;
}

static int parse_entry(const char *path, const char *name, struct json_object *obj, struct entry *e)
{
	struct json_object *dtype, *shape, *offsets;
	uint64_t bytes;

	e->name = name;
	if (!json_object_is_type(obj, json_type_object) || !json_object_object_get_ex(obj, "dtype", &dtype) ||
	    !json_object_object_get_ex(obj, "shape", &shape) || !json_object_object_get_ex(obj, "data_offsets", &offsets) ||
	    json_object_object_length(obj) != 3)
		return pim_error(-EINVAL, "%s: tensor '%s': the header must give dtype, shape and data_offsets, and nothing else", path, name);
	if (!json_object_is_type(dtype, json_type_string) || safetensors_dtype(json_object_get_string(dtype), &e->dtype))
		return pim_error(-EINVAL, "%s: tensor '%s': type %s; only F32 and I64 can be read, convert the file", path, name,
				 json_object_get_string(dtype));
	if (!json_object_is_type(shape, json_type_array) || json_object_array_length(shape) > PIM_TENSOR_DIMS)
		return pim_error(-EINVAL, "%s: tensor '%s': the shape is not a list of at most %d numbers", path, name, PIM_TENSOR_DIMS);
	e->ndims = json_object_array_length(shape);
	for (uint32_t i = 0; i < e->ndims; i++)
		if (get_u64(json_object_array_get_idx(shape, i), &e->dim[i]))
			return pim_error(-EINVAL, "%s: tensor '%s': dimension %u is not a number from 0", path, name, i);
	if (!json_object_is_type(offsets, json_type_array) || json_object_array_length(offsets) != 2 ||
	    get_u64(json_object_array_get_idx(offsets, 0), &e->begin) || get_u64(json_object_array_get_idx(offsets, 1), &e->end))
		return pim_error(-EINVAL, "%s: tensor '%s': data_offsets are not two numbers from 0", path, name);
	if (safetensors_bytes(e->dtype, e->ndims, e->dim, &bytes) || e->end < e->begin || e->end - e->begin != bytes)
		return pim_error(-EINVAL, "%s: tensor '%s': data_offsets %" PRIu64 "..%" PRIu64 " do not fit its shape", path, name, e->begin, e->end);
	return 0;
}

static int by_begin(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	return x->end < y->end ? -1 : x->end > y->end;
}

/* The tensors must cover the data without gap or overlap. */
static int check_cover(const char *path, const struct entry *e, size_t n, uint64_t bytes)
{
	uint64_t at = 0;

	for (size_t i = 0; i < n; i++) {
		if (e[i].begin != at)
			return pim_error(-EINVAL, "%s: tensor '%s' begins at byte %" PRIu64 " of the data, the one before it ends at %" PRIu64
					 "; the file is damaged", path, e[i].name, e[i].begin, at);
		at = e[i].end;
	}
	if (at != bytes)
		return pim_error(-EINVAL, "%s: %" PRIu64 " bytes of data, the header tells of %" PRIu64 "; the file is cut off or damaged", path, bytes, at);
	return 0;
}

static int parse_header(const char *path, struct json_object *root, const unsigned char *data, uint64_t bytes, struct pim_safetensors *st)
{
	struct entry *e = calloc(json_object_object_length(root) + 1, sizeof(*e));
	size_t n = 0;
	int err = 0;

	if (!e)
		return pim_error(-ENOMEM, "%s: no memory for its header", path);
	json_object_object_foreach(root, name, obj) {
		if (!strcmp(name, "__metadata__"))
			continue;
		err = parse_entry(path, name, obj, &e[n++]);
		if (err)
			goto out;
	}
	qsort(e, n, sizeof(*e), by_begin);
	err = check_cover(path, e, n, bytes);
	for (size_t i = 0; i < n && !err; i++)
		err = safetensors_add(st, e[i].name, e[i].dtype, e[i].dim, e[i].ndims, data + e[i].begin);
out:
	free(e);
	return err;
}

static struct json_object *parse_json(const char *path, const char *text, uint64_t bytes)
{
	struct json_tokener *tok = json_tokener_new();
	struct json_object *root;

	if (!tok) {
		pim_error(-ENOMEM, "%s: no memory for its header", path);
		return NULL;
	}
	/* Not strict: the format pads the header with spaces. */
	root = json_tokener_parse_ex(tok, text, bytes);
	if (!root || json_tokener_get_error(tok) != json_tokener_success) {
		pim_error(-EINVAL, "%s: the header is no JSON: %s; not a safetensors file, or damaged", path,
			  json_tokener_error_desc(json_tokener_get_error(tok)));
		json_object_put(root);
		root = NULL;
		goto out;
	}
	for (uint64_t i = json_tokener_get_parse_end(tok); i < bytes; i++) {
		if (text[i] == ' ')
			continue;
		pim_error(-EINVAL, "%s: the header goes on behind its JSON; not a safetensors file, or damaged", path);
		json_object_put(root);
		root = NULL;
		goto out;
	}
	if (!json_object_is_type(root, json_type_object)) {
		pim_error(-EINVAL, "%s: the header is not a JSON object; not a safetensors file, or damaged", path);
		json_object_put(root);
		root = NULL;
	}
out:
	json_tokener_free(tok);
	return root;
}

PIM_API int pim_safetensors_read(const char *path, struct pim_safetensors **out)
{
	struct pim_safetensors *st = NULL;
	struct json_object *root;
	unsigned char *data = NULL;
	uint64_t bytes = 0, len;
	int err = read_all(path, &data, &bytes);

	if (err)
		return err;
	if (bytes < 8) {
		err = pim_error(-EINVAL, "%s: %" PRIu64 " bytes are no safetensors file; the file is cut off", path, bytes);
		goto free_data;
	}
	memcpy(&len, data, 8);
	len = le64toh(len);
	if (len > HEADER_MAX || len > bytes - 8) {
		err = pim_error(-EINVAL, "%s: a header of %" PRIu64 " bytes in a file of %" PRIu64 "; not a safetensors file, or cut off", path, len,
				bytes);
		goto free_data;
	}
	root = parse_json(path, (char *)data + 8, len);
	if (!root) {
		err = -EINVAL;
		goto free_data;
	}
	err = pim_safetensors_new(&st);
	if (!err)
		err = parse_header(path, root, data + 8 + len, bytes - 8 - len, st);
	json_object_put(root);
	if (err)
		pim_safetensors_free(st);
	else
		*out = st;
free_data:
	free(data);
	return err;
}

/* -- writing ---------------------------------------------------------------------------------------------------------- */

static struct json_object *make_header(const struct pim_safetensors *st)
{
	struct json_object *root = json_object_new_object();
	uint64_t at = 0;

	for (uint32_t i = 0; root && i < st->n; i++) {
		const struct pim_tensor *t = &st->tensor[i];
		struct json_object *obj = json_object_new_object(), *shape = json_object_new_array(), *offsets = json_object_new_array();

		for (uint32_t k = 0; k < t->ndims; k++)
			json_object_array_add(shape, json_object_new_uint64(t->dim[k]));
		json_object_array_add(offsets, json_object_new_uint64(at));
		at += t->bytes;
		json_object_array_add(offsets, json_object_new_uint64(at));
		json_object_object_add(obj, "dtype", json_object_new_string(safetensors_dtype_name(t->dtype)));
		json_object_object_add(obj, "shape", shape);
		json_object_object_add(obj, "data_offsets", offsets);
		json_object_object_add(root, t->name, obj);
	}
	return root;
}

static int write_all(int fd, const void *data, uint64_t bytes)
{
	const char *p = data;

	while (bytes) {
		ssize_t n = write(fd, p, bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		bytes -= n;
	}
	return 0;
}

static int write_file(int fd, const struct pim_safetensors *st)
{
	struct json_object *root = make_header(st);
	static const char pad[HEADER_ALIGN] = "        ";
	const char *text;
	size_t len = 0;
	uint64_t header;
	int err = -ENOMEM;

	text = root ? json_object_to_json_string_length(root, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &len) : NULL;
	if (!text)
		goto out;
	/* The data behind the header is aligned for its largest type. */
	header = htole64((len + HEADER_ALIGN - 1) / HEADER_ALIGN * HEADER_ALIGN);
	err = write_all(fd, &header, 8);
	if (!err)
		err = write_all(fd, text, len);
	if (!err)
		err = write_all(fd, pad, le64toh(header) - len);
	for (uint32_t i = 0; i < st->n && !err; i++)
		err = write_all(fd, st->tensor[i].data, st->tensor[i].bytes);
	if (!err && fsync(fd))
		err = -errno;
out:
	json_object_put(root);
	return err;
}

/* Makes a rename last. */
static int sync_dir(const char *path)
{
	const char *slash = strrchr(path, '/');
	char dir[PATH_MAX];
	int fd, err = 0;

	snprintf(dir, sizeof(dir), "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* Some file systems have nothing to sync in a directory. */
	if (fsync(fd) && errno != EINVAL)
		err = -errno;
	close(fd);
	return err;
}

/* A new file in the same directory, hence on the same file system; its name in tmp. */
static int open_beside(const char *path, char *tmp, size_t len)
{
	for (unsigned int i = 0; ; i++) {
		int fd;

		if ((size_t)snprintf(tmp, len, "%s.%d-%u.tmp", path, (int)getpid(), i) >= len)
			return -ENAMETOOLONG;
		fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (fd >= 0 || errno != EEXIST)
			return fd >= 0 ? fd : -errno;
	}
}

PIM_API int pim_safetensors_write(const struct pim_safetensors *st, const char *path)
{
	char tmp[PATH_MAX];
	int fd, err;

	fd = open_beside(path, tmp, sizeof(tmp));
	if (fd < 0)
		return pim_error(fd, "%s: cannot write next to it: %s", path, strerror(-fd));
	err = write_file(fd, st);
	if (close(fd) && !err)
		err = -errno;
	if (!err && rename(tmp, path))
		err = -errno;
	if (err) {
		unlink(tmp);
		return pim_error(err, "%s: not written: %s; the former file, if any, is as it was", path, strerror(-err));
	}
	err = sync_dir(path);
	return err ? pim_error(err, "%s: written, but not yet safe on disk: %s", path, strerror(-err)) : 0;
}
