/* test_result_reader.c - result files read back: figures, and what is refused */
#include "bench/result_reader.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/leak.h"

TestSuite(result_reader, .fini = vly_leak_gate);

#define HEADER "{\"type\": \"header\", \"schema\": \"volley-result\", \"schema_version\": 1}\n"
#define RUN                                                                                                                      \
	"{\"type\": \"run\", \"workload\": \"pingpong\", \"variant\": \"a\", \"run\": 2, \"status\": \"ok\", \"canary\": true, " \
	"\"connections\": 100, \"size_bytes\": 64, \"depth\": 3, \"limited\": \"client\", "                                      \
	"\"rate_msg_per_s\": 1234.5, \"cpu_us_per_msg\": 2, \"cpu_us_per_msg_scaled\": null}\n"
#define END(status, ok)                                                                            \
	"{\"type\": \"end\", \"status\": \"" status "\", \"exit_code\": 0, \"runs\": {\"ok\": " ok \
	", \"failed\": 0}}\n"

static char why[512];

static int read_text_by(int (*read)(const char *, struct result_data *, char *, size_t),
			const char *text, struct result_data *data)
{
	static char path[] = "/tmp/volley-reader-XXXXXX";

	strcpy(path + strlen(path) - 6, "XXXXXX");
	int fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	int err = read(path, data, why, sizeof(why));
	unlink(path);
	return err;
}

static int read_text(const char *text, struct result_data *data)
{
	return read_text_by(result_read, text, data);
}

Test(result_reader, runs_come_back_as_they_were)
{
	struct result_data data;

	cr_assert_eq(read_text(HEADER RUN END("complete", "1"), &data), 0);
	cr_assert_eq(data.count, 1);
	cr_assert_eq(data.runs[0].status, RUN_OK);
	cr_assert_str_eq(data.runs[0].variant, "a");
	cr_assert_str_eq(data.runs[0].limited, "client");
	cr_assert_eq(data.runs[0].run, 2);
	cr_assert(data.runs[0].canary);
	cr_assert_eq(data.runs[0].rate_msg_per_s, 1234.5);
	cr_assert_eq(data.runs[0].server_cpu_us_per_msg, 2.0);
	cr_assert(isnan(data.runs[0].server_cpu_us_per_msg_scaled));
	cr_assert_str_eq(data.plans[0].workload, "pingpong");
	cr_assert_eq(data.plans[0].connections, 100);
	cr_assert_eq(data.plans[0].depth, 3);
	cr_assert_not(data.interrupted);
	result_data_fini(&data);
}

Test(result_reader, an_interrupted_file_is_whole)
{
	struct result_data data;

	cr_assert_eq(read_text(HEADER END("interrupted", "0"), &data), 0);
	cr_assert(data.interrupted);
	cr_assert_eq(data.count, 0);
	result_data_fini(&data);
}

Test(result_reader, many_runs_keep_their_names)
{
	struct result_data data;
	char *text = calloc(1, 200 * sizeof(RUN) + 1024);

	strcpy(text, HEADER);
	for (int i = 0; i < 200; i++)
		strcat(text, RUN);
	strcat(text, END("complete", "200"));
	cr_assert_eq(read_text(text, &data), 0, "%s", why);
	cr_assert_eq(data.count, 200);
	for (size_t i = 0; i < 200; i++)
		cr_assert_str_eq(data.runs[i].variant, "a");
	result_data_fini(&data);
	free(text);
}

Test(result_reader, what_is_not_a_whole_file_of_ours_is_refused_with_the_reason)
{
	static const struct {
		const char *text, *part;
	} cases[] = {
		{"", "is empty"},
		{"x\n", "is no result file"},
		{"{\"schema\": \"other\"}\n", "is no result file"},
		{"{\"schema\": \"volley-result\", \"schema_version\": 2}\n",
		 "schema version 2, this volley reads up to 1"},
		{"{\"schema\": \"volley-result\", \"schema_version\": 1}\n", "is no header"},
		{HEADER, "its end is missing behind line 1"},
		{HEADER RUN, "its end is missing behind line 2"},
		{HEADER "{\"type\": \"ru", "is cut off in line 2"},
		{HEADER "{\"type\": \"ru\n", "line 2 is no JSON"},
		{HEADER "{\"type\": \"odd\"}\n", "line 2 is neither"},
		{HEADER "{\"type\": \"run\"}\n", "line 2 is no run"},
		{HEADER RUN END("complete", "2"), "has 1 runs, but its end tells of 2"},
		{HEADER END("complete", "0") RUN, "goes on in line 3"},
	};
	struct result_data data;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_assert_eq(read_text(cases[i].text, &data), -EBADMSG, "%s", cases[i].part);
		cr_assert_not_null(strstr(why, cases[i].part), "%s", why);
		result_data_fini(&data);
	}
}

Test(result_reader, of_a_file_that_was_begun_whole_lines_are_taken)
{
	static const struct {
		const char *text;
		size_t runs;
		int err;
	} cases[] = {
		{HEADER, 0, 0},
		{HEADER RUN, 1, 0},
		{HEADER RUN RUN "{\"type\": \"ru", 2, 0},
		{HEADER RUN "{\"type\": \"ru\n", 1, -EBADMSG},
		{"{\"type\": \"hea", 0, -EBADMSG},
		{"", 0, -EBADMSG},
	};
	struct result_data data;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cr_assert_eq(read_text_by(result_read_begun, cases[i].text, &data), cases[i].err,
			     "%zu: %s", i, why);
		cr_assert_eq(data.count, cases[i].runs);
		cr_assert_eq(data.interrupted, cases[i].err == 0);
		result_data_fini(&data);
	}
	cr_assert_eq(read_text_by(result_read_begun, HEADER RUN END("complete", "1"), &data), 0);
	cr_assert_not(data.interrupted);
	result_data_fini(&data);
}

Test(result_reader, a_file_that_is_not_there_is_an_error_of_reading)
{
	struct result_data data;

	cr_assert_eq(result_read("/nonexistent/file", &data, why, sizeof(why)), -ENOENT);
	result_data_fini(&data);
	cr_assert_eq(result_read("/", &data, why, sizeof(why)), -EISDIR, "%s", why);
	result_data_fini(&data);
}
