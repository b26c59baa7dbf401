/* result.c - the result file: JSON Lines, a header, a line per run, an end */
#include "bench/result.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/number.h"
#include "bench/run_load.h"
#include "bench/version.h"

int result_open(struct result_file *result, const char *path)
{
	memset(result, 0, sizeof(*result));
	result->path = path;
	if (!path)
		return 0;
	if (strcmp(path, "-") == 0)
		result->file = stdout;
	else
		result->file = fopen(path, "we");
	return result->file ? 0 : -errno;
}

void result_write(struct result_file *result, json_t *line)
{
	if (result->file && line && !result->err) {
		errno = 0;
		if (json_dumpf(line, result->file, JSON_COMPACT) != 0 ||
		    fputc('\n', result->file) == EOF || fflush(result->file) != 0)
			result->err = errno ? -errno : -EIO;
	} else if (result->file && !line && !result->err) {
		result->err = -ENOMEM;
	}
	json_decref(line);
}

static json_t *text(const char *value)
{
	return value ? json_string(value) : json_null();
}

static json_t *cpu_array(const struct cpus *cpus)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < cpus->count; i++)
		json_array_append_new(array, json_integer(cpus->list[i]));
	return array;
}

static char *utc_now(char *out, size_t size_bytes)
{
	time_t now = time(NULL);
	struct tm utc;

	gmtime_r(&now, &utc);
	strftime(out, size_bytes, "%Y-%m-%dT%H:%M:%SZ", &utc);
	return out;
}

/* FNV-1a over what decides the outcome: two files with the same hash planned the same. */
static void plan_hash(const struct result_head *head, char *out, size_t size_bytes)
{
	uint64_t hash = 14695981039346656037u;
	const struct load_options *o = head->options;
	json_t *plan = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "workload",
				 head->workload, "connections", (json_int_t)o->connections, "size",
				 (json_int_t)o->size_bytes, "depth", (json_int_t)o->depth,
				 "duration", (json_int_t)o->duration_ns, "warmup",
				 (json_int_t)o->warmup_ns, "runs", (json_int_t)o->runs, "rows",
				 head->rows);
	json_object_set_new(plan, "load", load_shape_plan(&o->shape));
	if (o->turns > 1)
		json_object_set_new(plan, "turns", json_integer(o->turns));
	char *words = plan ? json_dumps(plan, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	for (const char *c = words; c && *c; c++)
		hash = (hash ^ (unsigned char)*c) * 1099511628211u;
	snprintf(out, size_bytes, "%016llx", (unsigned long long)hash);
	free(words);
	json_decref(plan);
}

void result_header(struct result_file *result, const struct result_head *head)
{
	const struct load_options *o = head->options;
	json_t *argv = json_array();
	char now[32], hash[32];

	plan_hash(head, hash, sizeof(hash));
	for (int i = 0; i < head->argc; i++) {
		json_t *word = json_string(head->argv[i]);
		json_array_append_new(argv, word ? word : json_string("(not UTF-8)"));
	}
	json_t *line = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s, s:o, s:I, s:s, s:O, s:s}",
				 "type", "header", "schema", RESULT_SCHEMA, "schema_version",
				 RESULT_SCHEMA_VERSION, "volley_version", VOLLEY_VERSION, "commit",
				 VOLLEY_COMMIT, "began", utc_now(now, sizeof(now)), "workload",
				 head->workload, "argv", argv, "seed", (json_int_t)o->seed,
				 "plan_hash", hash, "rows", head->rows, "load_nic", head->load_nic);
	json_t *plan = json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:o, s:o}", "connections",
				 (json_int_t)o->connections, "size_bytes",
				 (json_int_t)o->size_bytes, "depth", (json_int_t)o->depth, "runs",
				 (json_int_t)o->runs, "warmup_s", (double)o->warmup_ns / 1e9,
				 "duration_s", (double)o->duration_ns / 1e9, "server_cpus",
				 cpu_array(&o->server_cpus), "load_cpus", cpu_array(&o->load_cpus));
	json_object_set_new(plan, "load", load_shape_plan(&o->shape));
	json_object_set_new(plan, "turns", json_integer(o->turns > 1 ? o->turns : 1));
	json_object_set_new(line, "plan", plan);
	json_object_set(line, "environment", head->environment);
	if (head->keepup)
		json_object_set(line, "keepup", head->keepup);
	result_write(result, line);
}

static json_t *latency_json(const struct run_result *run)
{
	json_t *latency = json_object();

	json_object_set_new(latency, "mean", number(run->latency_mean_ns));
	for (int i = 0; i < RUN_PERCENTILES; i++)
		json_object_set_new(latency, run_percentile_names[i], number(run->latency_ns[i]));
	json_object_set_new(latency, "max", number(run->latency_max_ns));
	return latency;
}

static json_t *fairness_json(const struct run_result *run)
{
	const struct fairness *f = &run->fairness;

	if (!run->measured)
		return json_null();
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "min", (json_int_t)f->min, "p5",
			 (json_int_t)f->p5, "p50", (json_int_t)f->p50, "p95", (json_int_t)f->p95,
			 "max", (json_int_t)f->max, "jain", number(f->jain));
}

static json_t *lines_json(const char (*lines)[RUN_REASON_BYTES], unsigned int count)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < count; i++) {
		json_t *line = json_string(lines[i]);
		json_array_append_new(array,
				      line ? line : json_string("(a reason that is not UTF-8)"));
	}
	return array;
}

/* What the kernel's own threads and interrupts add to the cost. */
static json_t *unbilled_json(const struct run_unbilled *unbilled)
{
	return json_pack("{s:o, s:o, s:o}", "ksoftirqd", number(unbilled->ksoftirqd_us), "irq",
			 number(unbilled->irq_us), "softirq", number(unbilled->softirq_us));
}

/* What the processes and CPUs did. */
static void add_costs(json_t *line, const struct run_result *run)
{
	const struct {
		const char *key;
		double value;
	} numbers[] = {
		{"cpu_us_per_msg", run->server_cpu_us_per_msg},
		{"cpu_us_per_msg_scaled", run->server_cpu_us_per_msg_scaled},
		{"load_cpu_us_per_msg", run->load_cpu_us_per_msg},
		{"user_share", run->user_share},
		{"server_busy_share", run->server_busy_share},
		{"load_busy_share", run->load_busy_share},
		{"server_cpus_busy_share", run->server_cpus_busy_share},
		{"server_cpus_other_share", run->server_cpus_other_share},
		{"steal_share", run->steal_share},
		{"server_rss_bytes", run->server_rss_bytes},
		{"server_threads", run->server_threads},
		{"switches_voluntary_per_msg", run->switches_voluntary_per_msg},
		{"switches_involuntary_per_msg", run->switches_involuntary_per_msg},
		{"tsc_ghz", run->tsc_ghz},
		{"steady_change", run->steady_change},
		{"retransmits", run->retransmits},
		{"throttled_s", run->throttled_s},
	};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		json_object_set_new(line, numbers[i].key, number(numbers[i].value));
	json_object_set_new(line, "cycles_per_msg",
			    json_pack("{s:o, s:o}", "server", number(run->server_cycles_per_msg),
				      "load", number(run->load_cycles_per_msg)));
	json_object_set_new(line, "effective_ghz",
			    json_pack("{s:o, s:o}", "server", number(run->server_ghz), "load",
				      number(run->load_ghz)));
	json_object_set_new(line, "server_cpus_split",
			    json_pack("{s:o, s:o, s:o, s:o}", "user",
				      number(run->server_cpus_split.user), "system",
				      number(run->server_cpus_split.system), "irq",
				      number(run->server_cpus_split.irq), "softirq",
				      number(run->server_cpus_split.softirq)));
	json_object_set_new(line, "kernel_us_per_msg",
			    json_pack("{s:o, s:o}", "server", unbilled_json(&run->server_unbilled),
				      "load", unbilled_json(&run->load_unbilled)));
	/* By the probe, a run of its own that has no line. */
	bool counted = run->syscalls && run->syscalls->counted;
	json_object_set_new(line, "syscalls_per_msg",
			    counted ? json_real(run->syscalls->total) : json_null());
	json_object_set_new(line, "syscalls_by_name",
			    counted ? syscalls_by_name_json(run->syscalls) : json_null());
}

json_t *result_run_line(const char *workload, const struct load_options *options,
			const struct run_result *run)
{
	json_t *line = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:s, s:I, s:I, s:I}", "type",
				 "run", "workload", workload, "variant", run->variant, "run",
				 (json_int_t)run->run, "order", (json_int_t)run->order, "attempt",
				 (json_int_t)run->attempt, "began", run->began, "connections",
				 (json_int_t)options->connections, "size_bytes",
				 (json_int_t)options->size_bytes, "depth",
				 (json_int_t)options->depth);
	json_object_set_new(line, "canary", json_boolean(run->canary));
	json_object_set_new(line, "status", json_string(run_status_name(run->status)));
	json_object_set_new(line, "reasons", lines_json(run->reasons, run->reasons_count));
	json_object_set_new(line, "warnings", lines_json(run->warnings, run->warnings_count));
	json_object_set_new(line, "messages",
			    run->measured ? json_integer((json_int_t)run->messages) : json_null());
	json_object_set_new(line, "window_s", number(run->window_s));
	json_object_set_new(line, "rate_msg_per_s", number(run->rate_msg_per_s));
	json_object_set_new(line, "latency_ns", latency_json(run));
	json_object_set_new(line, "little", number(run->little));
	json_object_set_new(line, "fairness", fairness_json(run));
	json_object_set_new(line, "limited", text(run->limited));
	json_object_set_new(line, "turns", json_integer(run->turns > 1 ? run->turns : 1));
	json_object_set_new(line, "pieces", pieces_json(&run->pieces));
	json_object_set_new(line, "idle_policy", text(run->idle_policy));
	json_object_set_new(line, "nic", text(run->nic));
	json_object_set_new(
		line, "errors",
		json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "connections", (json_int_t)run->errors,
			  "connect_retries", (json_int_t)run->connect_retries, "lost",
			  (json_int_t)run->lost, "wrong", (json_int_t)run->wrong, "excess",
			  (json_int_t)run->excess, "silent", (json_int_t)run->silent));
	run_load_json(line, run, options);
	add_costs(line, run);
	json_object_set_new(line, "hdr", text(run->hdr));
	return line;
}

void result_run(struct result_file *result, const char *workload,
		const struct load_options *options, const struct run_result *run)
{
	if (run->status <= RUN_INTERRUPTED)
		result->runs[run->status]++;
	if (result->file)
		result_write(result, result_run_line(workload, options, run));
}

void result_end(struct result_file *result, const char *status, int exit_code)
{
	char now[32];

	if (!result->file)
		return;
	result_write(result, json_pack("{s:s, s:s, s:i, s:s, s:{s:I, s:I, s:I, s:I, s:I}}", "type",
				       "end", "status", status, "exit_code", exit_code, "ended",
				       utc_now(now, sizeof(now)), "runs", "ok",
				       (json_int_t)result->runs[RUN_OK], "invalid",
				       (json_int_t)result->runs[RUN_INVALID], "failed",
				       (json_int_t)result->runs[RUN_FAILED], "unavailable",
				       (json_int_t)result->runs[RUN_UNAVAILABLE], "interrupted",
				       (json_int_t)result->runs[RUN_INTERRUPTED]));
}

int result_close(struct result_file *result)
{
	if (result->file && result->file != stdout && fclose(result->file) != 0 && !result->err)
		result->err = -errno;
	result->file = NULL;
	return result->err;
}
