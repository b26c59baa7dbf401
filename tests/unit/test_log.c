/* test_log.c - the log callback and the line on stderr */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/support/leak.h"

TestSuite(log, .fini = vly_leak_gate);

#define THREADS 4
#define LINES 200

struct seen {
	unsigned int count;
	enum vly_log_level level;
	char line[600];
};

static void seen_take(enum vly_log_level level, const char *line, void *arg)
{
	struct seen *seen = arg;

	seen->count++;
	seen->level = level;
	strncpy(seen->line, line, sizeof(seen->line) - 1);
}

/* Runs `body` with stderr in a pipe and returns what was written there. */
static size_t stderr_catch(void (*body)(void), char *text, size_t text_bytes)
{
	int kept = dup(STDERR_FILENO);
	size_t len_bytes = 0;
	int ends[2];
	ssize_t n;

	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	close(ends[1]);
	body();
	cr_assert_eq(dup2(kept, STDERR_FILENO), STDERR_FILENO);
	close(kept);
	while ((n = read(ends[0], text + len_bytes, text_bytes - 1 - len_bytes)) > 0)
		len_bytes += (size_t)n;
	close(ends[0]);
	text[len_bytes] = '\0';
	return len_bytes;
}

Test(log, receiver_gets_level_line_and_argument)
{
	struct seen seen = {0};

	vly_log_set(seen_take, &seen, VLY_LOG_DEBUG);
	vly_log(VLY_LOG_INFO, "core %d of %s", 3, "four");
	cr_assert_eq(seen.count, 1);
	cr_assert_eq(seen.level, VLY_LOG_INFO);
	cr_assert_str_eq(seen.line, "core 3 of four");
}

Test(log, lines_above_the_level_are_dropped)
{
	struct seen seen = {0};

	vly_log_set(seen_take, &seen, VLY_LOG_WARN);
	vly_log(VLY_LOG_INFO, "no");
	vly_log(VLY_LOG_DEBUG, "no");
	cr_assert_eq(seen.count, 0);
	vly_log(VLY_LOG_WARN, "yes");
	vly_log(VLY_LOG_ERROR, "yes");
	cr_assert_eq(seen.count, 2);
}

Test(log, line_of_511_bytes_is_whole_and_longer_ones_are_cut_there)
{
	struct seen seen = {0};
	char text[600];

	vly_log_set(seen_take, &seen, VLY_LOG_WARN);
	memset(text, 'x', sizeof(text));
	for (size_t len_bytes = 510; len_bytes <= 513; len_bytes++) {
		text[len_bytes] = '\0';
		vly_log(VLY_LOG_ERROR, "%s", text);
		cr_assert_eq(strlen(seen.line), len_bytes < 511 ? len_bytes : 511);
		text[len_bytes] = 'x';
		memset(seen.line, 0, sizeof(seen.line));
	}
}

Test(log, newlines_inside_become_blanks)
{
	struct seen seen = {0};

	vly_log_set(seen_take, &seen, VLY_LOG_WARN);
	vly_log(VLY_LOG_ERROR, "a\nb\r\nc");
	cr_assert_str_eq(seen.line, "a b  c");
}

Test(log, errno_survives)
{
	vly_log_set(NULL, NULL, VLY_LOG_WARN);
	close(STDERR_FILENO);
	errno = ENOTCONN;
	vly_log(VLY_LOG_ERROR, "to a closed stderr");
	cr_assert_eq(errno, ENOTCONN);
}

static void speak_by_default(void)
{
	vly_log(VLY_LOG_WARN, "port %d is taken", 80);
	vly_log(VLY_LOG_INFO, "not shown");
}

Test(log, default_receiver_writes_one_prefixed_line_of_warnings)
{
	char text[256];

	stderr_catch(speak_by_default, text, sizeof(text));
	cr_assert_str_eq(text, "volley: port 80 is taken\n");
}

Test(log, null_receiver_goes_back_to_stderr)
{
	struct seen seen = {0};
	char text[256];

	vly_log_set(seen_take, &seen, VLY_LOG_WARN);
	vly_log_set(NULL, NULL, VLY_LOG_INFO);
	stderr_catch(speak_by_default, text, sizeof(text));
	cr_assert_eq(seen.count, 0);
	cr_assert_str_eq(text, "volley: port 80 is taken\nvolley: not shown\n");
}

static void relog(enum vly_log_level level, const char *line, void *arg)
{
	struct seen *seen = arg;

	/* a receiver that itself changes the receiver and logs must not deadlock */
	vly_log_set(seen_take, seen, level);
	vly_log(level, "again: %s", line);
}

Test(log, receiver_may_log_and_replace_itself)
{
	struct seen seen = {0};

	vly_log_set(relog, &seen, VLY_LOG_WARN);
	vly_log(VLY_LOG_ERROR, "one");
	cr_assert_str_eq(seen.line, "again: one");
}

static void *many_log(void *arg)
{
	for (int i = 0; i < LINES; i++)
		vly_log(VLY_LOG_ERROR, "%s", (const char *)arg);
	return NULL;
}

static void threads_speak(void)
{
	static char words[THREADS][41];
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++) {
		memset(words[i], 'a' + i, sizeof(words[i]) - 1);
		cr_assert_eq(pthread_create(&threads[i], NULL, many_log, words[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

Test(log, lines_of_several_threads_do_not_mix)
{
	static char text[THREADS * LINES * 64];
	unsigned int count[THREADS] = {0};
	char *save, *line;

	/* 800 lines of 49 bytes fit into a pipe of 64 KiB: nobody needs to read meanwhile */
	stderr_catch(threads_speak, text, sizeof(text));
	for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		cr_assert_eq(strncmp(line, "volley: ", 8), 0, "%s", line);
		cr_assert_eq(strlen(line), 48, "%s", line);
		cr_assert_eq(strspn(line + 8, (char[]){line[8], '\0'}), 40, "%s", line);
		count[line[8] - 'a']++;
	}
	for (int i = 0; i < THREADS; i++)
		cr_assert_eq(count[i], LINES);
}
