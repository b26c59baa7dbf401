/* progress.c - what is going on now, on stderr */
#include "bench/progress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bench/options.h"
#include "bench/sheet.h"
#include "volley/core.h"

#define TERMINAL_EVERY_NS UINT64_C(500000000)
#define LINE_EVERY_NS UINT64_C(10000000000)

void progress_init(struct progress *progress, uint32_t runs, uint64_t run_ns)
{
	memset(progress, 0, sizeof(*progress));
	progress->terminal = isatty(STDERR_FILENO) == 1;
	progress->began_ns = vly_now_ns();
	progress->runs = runs;
	progress->run_ns = run_ns;
}

void progress_clear(struct progress *progress)
{
	if (progress->line_open)
		fprintf(stderr, "\r\033[K");
	progress->line_open = false;
}

void progress_note(struct progress *progress, const char *format, ...)
{
	va_list args;

	progress_clear(progress);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

void progress_run(struct progress *progress, const char *variant, uint32_t run, bool many)
{
	if (many)
		snprintf(progress->label, sizeof(progress->label), "%.60s, run %u", variant, run);
	else
		snprintf(progress->label, sizeof(progress->label), "%.60s", variant);
	progress->run_began_ns = vly_now_ns();
	progress->next_ns = progress->run_began_ns + (progress->terminal ? 0 : LINE_EVERY_NS);
}

static void describe(const struct load_progress *load, char *text, size_t size_bytes)
{
	char rate[SHEET_CELL_BYTES];

	if (!load || (load->phase == LOAD_CONNECTING && load->connections == 0))
		snprintf(text, size_bytes, "starting");
	else if (load->phase == LOAD_CONNECTING)
		snprintf(text, size_bytes, "connecting, %u of %u", load->connected,
			 load->connections);
	else
		snprintf(text, size_bytes, "%s, %.1f s, %s msg/s", load_phase_name(load->phase),
			 load->phase_s, sheet_count(load->rate_msg_per_s, rate));
}

void progress_tick(struct progress *progress, const struct load_progress *load)
{
	uint64_t now = vly_now_ns();
	char what[128], left_text[32];

	/* Until all are connected nothing of what was planned has passed. */
	if (load && load->phase == LOAD_CONNECTING)
		progress->run_began_ns = now;
	if (now < progress->next_ns)
		return;
	progress->next_ns = now + (progress->terminal ? TERMINAL_EVERY_NS : LINE_EVERY_NS);
	uint64_t spent = now - progress->run_began_ns;
	uint64_t left = progress->run_ns > spent ? progress->run_ns - spent : 0;
	if (progress->runs > progress->runs_done + 1)
		left += (progress->runs - progress->runs_done - 1) * progress->run_ns;
	describe(load, what, sizeof(what));
	option_duration_format(left / UINT64_C(1000000000) * UINT64_C(1000000000), left_text,
			       sizeof(left_text));
	fprintf(stderr, "%s[%u/%u] %s: %s; %s left%s", progress->terminal ? "\r" : "",
		progress->runs_done + 1, progress->runs, progress->label, what, left_text,
		progress->terminal ? "\033[K" : "\n");
	fflush(stderr);
	progress->line_open = progress->terminal;
}
