/* keepup_meter.c - the files of a trial: counters that a consumer shares, the report that it leaves */
#include "bench/keepup_meter.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/doubt.h"
#include "bench/slope.h"
#include "pyshim/meter.h"

#define BLOCKS_PER_MESSAGE_MAX                                                                     \
	0.5 /* a consumer that keeps more of them than that leaks, or collects */
#define LAG_SAMPLES_ABOVE_MIN 10 /* a percentile beyond the 99th with fewer is not known */
#define UNKNOWN ((double)NAN)
#define SLICES_PER_S (1000000000u / METER_SLICE_NS)

static int make_file(char *path, const char *what, size_t size)
{
	static const char *const folders[] = {"/dev/shm", "/tmp"};
	int fd = -1;

	for (size_t i = 0; i < 2 && fd < 0; i++) {
		snprintf(path, CONSUMER_PATH_BYTES, "%s/volley-%s-%d-XXXXXX", folders[i], what,
			 (int)getpid());
		fd = mkostemp(path, O_CLOEXEC);
	}
	if (fd < 0) {
		path[0] = '\0';
		return -errno;
	}
	if (ftruncate(fd, (off_t)size) != 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

int keepup_files_make(struct consumer_setting *setting, struct meter_file *file)
{
	int err = 0, fd = make_file(setting->report, "report", 0);

	file->meter = NULL;
	if (fd >= 0) {
		close(fd);
		fd = make_file(setting->meter, "meter", sizeof(struct meter));
	}
	if (fd < 0) {
		keepup_files_remove(setting, file);
		return fd;
	}
	struct meter *meter = mmap(NULL, sizeof(*meter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (meter == MAP_FAILED)
		err = -errno;
	close(fd);
	if (err) {
		keepup_files_remove(setting, file);
		return err;
	}
	meter->magic = METER_MAGIC;
	/* who sleeps, or shares its CPU on purpose, cannot tell what others took */
	if (setting->feed == FEED_INTERNAL && !setting->compete &&
	    strcmp(setting->mode, "inline") == 0)
		atomic_store_explicit(&meter->polls_only, 1, memory_order_relaxed);
	file->meter = meter;
	return 0;
}

void keepup_files_remove(struct consumer_setting *setting, struct meter_file *file)
{
	if (file->meter)
		munmap(file->meter, sizeof(*file->meter));
	file->meter = NULL;
	if (setting->meter[0])
		unlink(setting->meter);
	if (setting->report[0])
		unlink(setting->report);
	setting->meter[0] = setting->report[0] = '\0';
}

struct meter_view meter_file_view(const struct meter_file *file)
{
	const struct meter *m = file->meter;
	struct meter_view view = {
		/* pairs with the release of the generator's thread */
		.began_ns = atomic_load_explicit(&m->began_ns, memory_order_acquire),
		.done = atomic_load_explicit(&m->done, memory_order_acquire) != 0,
		.consumed = meter_read(&m->consumed),
		.lost = meter_read(&m->lost),
		.dropped = meter_read(&m->dropped),
	};

	view.asked_ns = meter_read(&m->asked_ns);
	view.window_begin_ns = meter_read(&m->window_begin_ns);
	view.window_end_ns = meter_read(&m->window_end_ns);
	view.delivered = meter_read(&m->delivered);
	view.delivered_sum = meter_read(&m->delivered_sum);
	/* read last: never less than what became of them */
	view.offered = meter_read(&m->offered);
	return view;
}

void meter_file_release(struct meter_file *file)
{
	atomic_store_explicit(&file->meter->released, 1, memory_order_relaxed);
}

/* ---- histograms ---- */

static uint64_t total_of(const struct meter_histogram *histogram)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < METER_COUNTS; i++)
		total += meter_read(&histogram->counts[i]);
	return total;
}

/* NAN if it is empty, or too few lie above. */
static double percentile(const struct meter_histogram *histogram, double percent,
			 uint64_t above_min)
{
	uint64_t total = total_of(histogram), seen = 0;
	double wanted = ceil((double)total * percent / 100);
	uint64_t max = meter_read(&histogram->max);

	if (total == 0 || (double)total - wanted < (double)above_min)
		return UNKNOWN;
	for (uint32_t i = 0; i < METER_COUNTS; i++) {
		seen += meter_read(&histogram->counts[i]);
		if ((double)seen >= wanted)
			return (double)(meter_value(i) < max ? meter_value(i) : max);
	}
	return (double)max;
}

/* ---- slices ---- */

/* Messages that wait at the end of each slice of the window: how deep, and whether ever deeper. */
static void take_backlog(const struct meter *m, uint32_t first, uint32_t last, struct trial *trial)
{
	double *depths = calloc(METER_SLICES, sizeof(*depths));
	double waiting = 0, deepest = 0;
	struct slope slope;
	size_t count = 0;

	for (uint32_t i = 0; depths && i < last; i++) {
		waiting += (double)meter_read(&m->offered_slices[i]) -
			   (double)meter_read(&m->dropped_slices[i]) -
			   (double)meter_read(&m->consumed_slices[i]);
		if (i < first)
			continue;
		depths[count++] = waiting;
		deepest = fmax(deepest, waiting);
	}
	if (count) {
		trial->backlog_max = deepest;
		/* a slope that may as well be none is none */
		if (slope_fit(depths, count, &slope) == 0)
			trial->backlog_slope = slope.lower <= 0 && slope.slope > 0
						       ? 0
						       : slope.slope * SLICES_PER_S;
	}
	free(depths);
}

/* From the end of the overload to the first slice after which the lag never was above the limit. */
static double recovery_ns(const struct meter *m, uint32_t end, double limit_ns)
{
	uint32_t last = METER_SLICES, recovered = end;

	while (last > end && !meter_read(&m->consumed_slices[last - 1]))
		last--;
	for (uint32_t i = end; i < last; i++)
		if ((double)meter_read(&m->lag_max_slices[i]) > limit_ns)
			recovered = i + 1;
	if (last <= end || recovered >= last)
		return (double)INFINITY;
	return (double)((uint64_t)(recovered - end) * METER_SLICE_NS);
}

static double sum_of(const meter_count *slices, uint32_t first, uint32_t last)
{
	double sum = 0;

	for (uint32_t i = first; i < last; i++)
		sum += (double)meter_read(&slices[i]);
	return sum;
}

/* ---- a trial ---- */

static double share(uint64_t part, uint64_t whole)
{
	return whole ? (double)part / (double)whole : UNKNOWN;
}

static void take_taken(const struct meter *m, uint64_t window_ns, struct trial *trial)
{
	uint64_t excluded = meter_read(&m->excluded);
	double consumer = share(meter_read(&m->consumer_taken_ns), window_ns);

	trial->generator_taken_share = share(meter_read(&m->generator_taken_ns), window_ns);
	trial->taken_share = fmax(trial->generator_taken_share, consumer);
	trial->excluded_share = share(excluded, excluded + total_of(&m->lag));
}

/* What it could do if it never waited for the time or for room. */
static double pace_of(const struct meter *m)
{
	uint64_t ns = meter_read(&m->putting_ns);

	return ns ? (double)meter_read(&m->put) * 1e9 / (double)ns : UNKNOWN;
}

void meter_file_open_window(struct meter_file *file)
{
	atomic_store_explicit(&file->meter->window_end_ns, UINT64_MAX, memory_order_relaxed);
}

static void take_batches(const struct meter *m, struct trial *trial)
{
	trial->batch_p50 = percentile(&m->batch, 50, 0);
	trial->batch_max = total_of(&m->batch) ? (double)meter_read(&m->batch.max) : UNKNOWN;
	trial->gil_wait_p99_ns = percentile(&m->gil_wait, 99, 0);
}

void meter_file_take_consumer(const struct meter_file *file, uint64_t size_bytes,
			      struct trial *trial)
{
	const struct meter *m = file->meter;
	double window_ns = trial->run.window_s * 1e9;

	take_batches(m, trial);
	trial->turn_lag_p99_ns = percentile(&m->lag, 99, 0);
	/* what it took for all messages of its life, at the window's rate; events are fewer */
	if (meter_read(&m->consumed_bytes) && window_ns > 0) {
		double messages = (double)meter_read(&m->consumed_bytes) / (double)size_bytes;
		double part = trial->consumed / messages / window_ns;

		trial->callback_share = (double)meter_read(&m->callback_ns) * part;
		trial->gil_wait_share = (double)meter_read(&m->gil_wait_ns) * part;
	}
}

static void take_culprit(const struct trial_spec *spec, struct trial *trial)
{
	bool answers = strcmp(spec->plan->setting->work, "sink") != 0 &&
		       !spec->plan->setting->module &&
		       strcmp(spec->consumer->variant.style, "null") != 0;
	double meant = trial->rate * trial->run.window_s * (1 - trial->generator_taken_share);

	if (trial->offered < 0.99 * meant)
		snprintf(trial->culprit, sizeof(trial->culprit),
			 "the generator: it offered %.0f of %.0f messages", trial->offered, meant);
	else if (trial->lost > 0)
		snprintf(trial->culprit, sizeof(trial->culprit),
			 "the consumer closed connections: %.0f messages found theirs closed",
			 trial->lost);
	else if (trial->dropped > 0)
		snprintf(trial->culprit, sizeof(trial->culprit),
			 "the consumer took them too slowly: %.0f messages found the ring full",
			 trial->dropped);
	else if (answers && trial->replied < trial->delivered)
		snprintf(trial->culprit, sizeof(trial->culprit),
			 "the consumer left %.0f messages without an answer",
			 trial->delivered - trial->replied);
}

void meter_file_take(const struct meter_file *file, const struct trial_spec *spec,
		     struct trial *trial)
{
	const struct meter *m = file->meter;
	struct run_result *r = &trial->run;
	uint64_t began_ns = meter_read(&m->began_ns), window_ns;

	if (!began_ns || !meter_read(&m->offered))
		return;
	uint32_t first = meter_slice(m, meter_read(&m->window_begin_ns));
	uint32_t last = meter_slice(m, meter_read(&m->window_end_ns));

	window_ns = meter_read(&m->window_end_ns) - meter_read(&m->window_begin_ns);
	r->window_s = (double)window_ns / 1e9;
	r->window_begin_ns = meter_read(&m->window_begin_ns);
	r->window_end_ns = meter_read(&m->window_end_ns);
	trial->offered = sum_of(m->offered_slices, first, last);
	trial->consumed = sum_of(m->consumed_slices, first, last);
	/* whole life: a message that was dropped or lost at any time was */
	trial->dropped = (double)meter_read(&m->dropped);
	trial->lost = (double)meter_read(&m->lost);
	trial->delivered = (double)meter_read(&m->delivered);
	trial->replied = (double)meter_read(&m->replied);
	trial->late_p99_ns = percentile(&m->late, 99, 0);
	trial->late_max_ns = (double)meter_read(&m->late.max);
	trial->paused_share = share(meter_read(&m->paused_ns), window_ns);
	take_taken(m, window_ns, trial);
	/* alone it is the rate, and what it makes by the end of the window was due long before it */
	if (spec->kind == TRIAL_CEILING)
		trial->generator_pace = pace_of(m);
	if (spec->kind == TRIAL_GENERATOR) {
		trial->consumed = trial->offered - sum_of(m->dropped_slices, first, last);
		r->measured = true;
		r->messages = (uint64_t)trial->consumed;
		return;
	}
	take_backlog(m, first, last, trial);
	for (int i = 0; i < RUN_PERCENTILES; i++)
		r->latency_ns[i] = trial->lag_ns[i] = percentile(
			&m->lag, run_percentiles[i], i > RUN_P99 ? LAG_SAMPLES_ABOVE_MIN : 0);
	r->latency_max_ns = trial->lag_max_ns = (double)meter_read(&m->lag.max);
	take_batches(m, trial);
	trial->callback_share = share(meter_read(&m->callback_window_ns), window_ns);
	trial->gil_wait_share = share(meter_read(&m->gil_wait_ns), window_ns);
	r->measured = true;
	r->messages = (uint64_t)trial->consumed;
	/* a core that polls is billed whole */
	if (trial->consumed > 0)
		r->server_cpu_us_per_msg =
			trial->callback_share * r->window_s * 1e6 / trial->consumed;
	if (spec->kind == TRIAL_OVERLOAD) {
		trial->goodput = trial->consumed / r->window_s;
		trial->recovery_ns = recovery_ns(m, last, spec->plan->limit_ns);
	}
	take_culprit(spec, trial);
}

void keepup_report_take(const struct trial_plan *plan, struct trial *trial)
{
	json_error_t error;
	json_t *report = json_load_file(plan->setting->report, 0, &error);
	double paused_ns = 0, life_s = (double)plan->warmup_ns / 1e9 + trial->run.window_s;
	const struct {
		const char *key;
		double *place;
	} numbers[] = {
		{"gc_pauses", &trial->gc_pauses},
		{"gc_pause_total_ns", &trial->gc_pause_total_ns},
		{"gc_pause_max_ns", &trial->gc_pause_max_ns},
		{"blocks_growth", &trial->blocks_growth},
		{"rss_growth_bytes", &trial->rss_growth_bytes},
		{"exceptions", &trial->exceptions},
		{"slowed_by_ns", &trial->slowed_by_ns},
		{"unslowed_ns", &trial->unslowed_ns},
		{"paused_ns", &paused_ns},
	};

	if (!report)
		return;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		const json_t *value = json_object_get(report, numbers[i].key);

		if (json_is_number(value))
			*numbers[i].place = json_number_value(value);
	}
	/* not of one connection, but of all: an engine in thread mode waits for Python; in its whole life */
	if (trial->run.window_s > 0)
		trial->paused_share = fmax(trial->paused_share, fmin(1, paused_ns / 1e9 / life_s));
	const char *first = json_string_value(json_object_get(report, "first_exception"));

	if (trial->exceptions > 0)
		doubt_reason(&trial->run, RUN_FAILED,
			     "the consumer raised %.0f exceptions; the first: %s",
			     trial->exceptions, first ? first : "not known");
	if (trial->blocks_growth > BLOCKS_PER_MESSAGE_MAX * trial->delivered &&
	    trial->delivered > 10000)
		doubt_warn(
			&trial->run,
			"memory grows: %.1f blocks are kept for each message (a leak, or a collection that nothing bounds)",
			trial->blocks_growth / trial->delivered);
	json_decref(report);
}
