/* log.c - one formatted line to the application's log callback */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_BYTES 512

struct receiver {
	vly_log_fn fn; /* NULL: stderr */
	void *arg;
	enum vly_log_level level;
};

/*
 * Held only while the three words are copied, never during the callback: a receiver may log or call
 * vly_log_set.
 */
static pthread_mutex_t receiver_lock = PTHREAD_MUTEX_INITIALIZER;
static struct receiver receiver = {.level = VLY_LOG_WARN};

void vly_log_set(vly_log_fn fn, void *arg, enum vly_log_level level)
{
	pthread_mutex_lock(&receiver_lock);
	receiver = (struct receiver){.fn = fn, .arg = arg, .level = level};
	pthread_mutex_unlock(&receiver_lock);
}

/* One write per line, so that lines of cores opening at the same time do not mix. */
static void stderr_write(const char *line)
{
	static const char prefix[] = "volley: ";
	char out[sizeof(prefix) + LINE_BYTES];
	size_t len_bytes = strlen(line);
	size_t done_bytes = 0;

	memcpy(out, prefix, sizeof(prefix) - 1);
	memcpy(out + sizeof(prefix) - 1, line, len_bytes);
	len_bytes += sizeof(prefix) - 1;
	out[len_bytes++] = '\n';
	while (done_bytes < len_bytes) {
		ssize_t n = write(STDERR_FILENO, out + done_bytes, len_bytes - done_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* nobody is left to tell */
		done_bytes += (size_t)n;
	}
}

void vly_log(enum vly_log_level level, const char *fmt, ...)
{
	int errno_kept = errno;
	struct receiver to;
	char line[LINE_BYTES];
	va_list args;

	pthread_mutex_lock(&receiver_lock);
	to = receiver;
	pthread_mutex_unlock(&receiver_lock);
	if (level > to.level)
		return;

	va_start(args, fmt);
	if (vsnprintf(line, sizeof(line), fmt, args) < 0)
		line[0] = '\0';
	va_end(args);

	/* Names and paths that users gave may hold newlines; the receiver was promised one line. */
	for (char *c = line; *c; c++) {
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	}

	if (to.fn)
		to.fn(level, line, to.arg);
	else
		stderr_write(line);
	errno = errno_kept;
}
