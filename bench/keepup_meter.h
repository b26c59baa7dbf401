/* keepup_meter.h - the files of a trial: counters that a consumer shares, the report that it leaves */
#ifndef VLY_BENCH_KEEPUP_METER_H
#define VLY_BENCH_KEEPUP_METER_H

#include "bench/keepup_trial.h"

struct meter;

struct meter_file {
	struct meter *meter; /* mapped; NULL: none */
};

/* What is looked at while a trial goes on. */
struct meter_view {
	uint64_t asked_ns, began_ns, window_begin_ns, window_end_ns;
	uint64_t offered, dropped, lost, consumed, delivered, delivered_sum;
	bool done;
};

/* Makes both, in memory, readable by us alone, and writes their names into the setting. 0 or -errno. */
int keepup_files_make(struct consumer_setting *setting, struct meter_file *file);
void keepup_files_remove(struct consumer_setting *setting, struct meter_file *file);

struct meter_view meter_file_view(const struct meter_file *file);

/* The generator may begin. */
void meter_file_release(struct meter_file *file);

/* What it says of a trial from inside. */
void meter_file_take(const struct meter_file *file, const struct trial_spec *spec,
		     struct trial *trial);

/* Of a trial over a network: all that comes belongs to it. */
void meter_file_open_window(struct meter_file *file);

/* What it says of a consumer behind a network: batches, time in Python, wait for the GIL. */
void meter_file_take_consumer(const struct meter_file *file, uint64_t size_bytes,
			      struct trial *trial);

/* What the consumer wrote itself; nothing, if it wrote nothing. */
void keepup_report_take(const struct trial_plan *plan, struct trial *trial);

#endif
