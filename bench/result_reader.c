/* result_reader.c - result files read back */
#include "bench/result_reader.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/result.h"

#define LINE_BYTES_MAX (8 << 20) /* far above any histogram */
#define UNKNOWN ((double)NAN)

struct reader {
	struct result_data *data;
	FILE *file;
	char *line; /* owned, LINE_BYTES_MAX */
	unsigned int number;
	size_t runs_size;
	bool ended;
	bool begun_will_do; /* no end is needed */
	char *why;
	size_t why_bytes;
};

static int bad(struct reader *reader, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static int bad(struct reader *reader, const char *format, ...)
{
	va_list args;
	size_t len = (size_t)snprintf(reader->why, reader->why_bytes, "%s: ", reader->data->path);

	va_start(args, format);
	if (len < reader->why_bytes)
		vsnprintf(reader->why + len, reader->why_bytes - len, format, args);
	va_end(args);
	return -EBADMSG;
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static double number_of(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_number(value) ? json_number_value(value) : UNKNOWN;
}

/* A whole number of [1, UINT32_MAX], or 0. */
static uint32_t count_of(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));

	return value >= 1 && value <= UINT32_MAX ? (uint32_t)value : 0;
}

/* Index of `name` among the statuses, or -1. */
static int status_of(const char *name)
{
	for (int status = RUN_OK; name && status <= RUN_INTERRUPTED; status++)
		if (strcmp(name, run_status_name((enum run_status)status)) == 0)
			return status;
	return -1;
}

static int take_header(struct reader *reader, json_t *line)
{
	const char *schema = text_of(line, "schema");
	json_int_t version = json_integer_value(json_object_get(line, "schema_version"));

	if (!schema || strcmp(schema, RESULT_SCHEMA) != 0)
		return bad(reader, "is no result file of volley");
	if (version > RESULT_SCHEMA_VERSION)
		return bad(
			reader,
			"has schema version %lld, this volley reads up to %d: read it with a newer one",
			(long long)version, RESULT_SCHEMA_VERSION);
	if (version < 1 || !text_of(line, "type") || strcmp(text_of(line, "type"), "header") != 0)
		return bad(reader, "line 1 is no header of a result file");
	reader->data->header = json_incref(line);
	return 0;
}

static int take_run(struct reader *reader, json_t *line)
{
	struct result_data *data = reader->data;
	int status = status_of(text_of(line, "status"));
	const char *variant = text_of(line, "variant");
	struct result_plan plan = {
		.workload = text_of(line, "workload"),
		.connections = count_of(line, "connections"),
		.size_bytes = count_of(line, "size_bytes"),
		.depth = count_of(line, "depth"),
	};

	if (status < 0 || !variant || !plan.workload || !count_of(line, "run") ||
	    !plan.connections || !plan.size_bytes || !plan.depth)
		return bad(reader, "line %u is no run of a result file", reader->number);
	if (data->count == reader->runs_size) {
		size_t size = reader->runs_size * 2 + 64;
		struct run_result *runs = reallocarray(data->runs, size, sizeof(*runs));
		if (runs)
			data->runs = runs;
		struct result_plan *plans = reallocarray(data->plans, size, sizeof(*plans));
		if (plans)
			data->plans = plans;
		if (!runs || !plans)
			return -ENOMEM;
		reader->runs_size = size;
	}
	if (json_array_append(data->lines, line) != 0)
		return -ENOMEM;
	struct run_result *run = &data->runs[data->count];
	memset(run, 0, sizeof(*run));
	run->status = (enum run_status)status;
	run->variant = variant;
	run->run = count_of(line, "run");
	run->canary = json_is_true(json_object_get(line, "canary"));
	run->limited = text_of(line, "limited");
	run->rate_msg_per_s = number_of(line, "rate_msg_per_s");
	run->server_cpu_us_per_msg = number_of(line, "cpu_us_per_msg");
	run->server_cpu_us_per_msg_scaled = number_of(line, "cpu_us_per_msg_scaled");
	data->plans[data->count++] = plan;
	return 0;
}

static int take_end(struct reader *reader, json_t *line)
{
	const json_t *counts = json_object_get(line, "runs");
	const char *status = text_of(line, "status");
	const json_t *value;
	const char *key;
	size_t sum = 0;

	reader->ended = true;
	reader->data->interrupted = !status || strcmp(status, "complete") != 0;
	/* jansson's iteration takes no const. */
	json_object_foreach((json_t *)(uintptr_t)counts, key, value)
		sum += (size_t)json_integer_value(value);
	if (sum != reader->data->count)
		return bad(reader, "has %zu runs, but its end tells of %zu: lines are missing",
			   reader->data->count, sum);
	return 0;
}

static int take_line(struct reader *reader, json_t *line)
{
	const char *type = text_of(line, "type");

	if (reader->number == 1)
		return take_header(reader, line);
	if (reader->ended)
		return bad(reader, "goes on in line %u, behind its end", reader->number);
	if (type && strcmp(type, "run") == 0)
		return take_run(reader, line);
	if (type && strcmp(type, "end") == 0)
		return take_end(reader, line);
	return bad(reader, "line %u is neither a run nor the end", reader->number);
}

static int read_lines(struct reader *reader)
{
	while (fgets(reader->line, LINE_BYTES_MAX, reader->file)) {
		size_t len = strlen(reader->line);
		json_error_t error;
		reader->number++;
		bool whole = len && reader->line[len - 1] == '\n';
		/* The last line, or fgets() would have gone on to its end. */
		if (!whole && reader->begun_will_do && reader->number > 1)
			break;
		json_t *line = json_loadb(reader->line, len, 0, &error);
		if (!line && reader->number == 1)
			return bad(reader, "is no result file of volley");
		if (!whole) {
			json_decref(line);
			return bad(reader, "is cut off in line %u", reader->number);
		}
		if (!line)
			return bad(reader, "line %u is no JSON: %s", reader->number, error.text);
		int err = take_line(reader, line);
		json_decref(line);
		if (err)
			return err;
	}
	if (ferror(reader->file))
		return errno ? -errno : -EIO;
	if (reader->number == 0)
		return bad(reader, "is empty");
	if (!reader->ended && reader->begun_will_do && reader->data->header) {
		reader->data->interrupted = true;
		return 0;
	}
	if (!reader->ended)
		return bad(reader, "is cut off: its end is missing behind line %u", reader->number);
	return 0;
}

static int read_file(const char *path, bool begun_will_do, struct result_data *data, char *why,
		     size_t why_bytes)
{
	struct reader reader = {
		.data = data, .begun_will_do = begun_will_do, .why = why, .why_bytes = why_bytes};
	int err = 0;

	memset(data, 0, sizeof(*data));
	data->path = path;
	data->lines = json_array();
	reader.line = malloc(LINE_BYTES_MAX);
	reader.file = fopen(path, "re");
	if (!reader.file)
		err = -errno;
	else if (!reader.line || !data->lines)
		err = -ENOMEM;
	errno = 0;
	err = err ? err : read_lines(&reader);
	if (reader.file)
		fclose(reader.file);
	free(reader.line);
	if (err && err != -EBADMSG)
		snprintf(why, why_bytes, "cannot read %s: %s", path, strerror(-err));
	return err;
}

int result_read(const char *path, struct result_data *data, char *why, size_t why_bytes)
{
	return read_file(path, false, data, why, why_bytes);
}

int result_read_begun(const char *path, struct result_data *data, char *why, size_t why_bytes)
{
	return read_file(path, true, data, why, why_bytes);
}

void result_data_fini(struct result_data *data)
{
	json_decref(data->header);
	json_decref(data->lines);
	free(data->runs);
	free(data->plans);
	memset(data, 0, sizeof(*data));
}
