/* keepup_file.c - the result file of volley keepup: a line for each trial, one for each answer; resumed */
#include "bench/keepup.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/finding.h"
#include "bench/number.h"

/* What has to be the same for trials to belong together. */
static json_t *settings_json(const struct keepup *keepup)
{
	const struct consumer_setting *s = &keepup->setting;

	return json_pack("{s:s, s:s, s:s, s:s, s:b, s:b, s:i, s:s?, s:f, s:f, s:o}", "source",
			 feed_name(s->feed), "work", s->work, "mode", s->mode, "gc", s->gc,
			 "prefetch", !s->no_prefetch, "competing_thread", s->compete,
			 "slowed_by_ns", (int)s->slow_ns, "module", s->module, "confirm_s",
			 (double)keepup->plan.confirm_ns / 1e9, "max_rate_msg_per_s", keepup->max,
			 "lag_limits_ns",
			 json_pack("[f, f]", keepup->limits_ns[0], keepup->limits_ns[1]));
}

static json_t *rows_json(const struct keepup *keepup)
{
	json_t *rows = json_array();

	for (unsigned int i = 0; i < keepup->rows_count; i++) {
		const struct variant *variant = &keepup->rows[i].consumer->variant;

		json_array_append_new(rows, json_pack("{s:s, s:s?}", "name", variant->name, "exec",
						      variant->exec));
	}
	return rows;
}

static void write_header(struct keepup *keepup)
{
	struct findings findings;

	if (!keepup->file.file)
		return;
	findings_collect(&findings);
	struct result_head head = {
		.workload = KEEPUP_COMMAND,
		.argc = keepup->argc,
		.argv = keepup->argv,
		.options = &keepup->options,
		.load_nic = keepup->setting.feed == FEED_KERNEL ? keepup->options.shape.nic
								: feed_name(keepup->setting.feed),
		.rows = rows_json(keepup),
		.environment = findings_environment(&findings),
		.keepup = settings_json(keepup),
	};

	result_header(&keepup->file, &head);
	json_decref(head.rows);
	json_decref(head.environment);
	json_decref(head.keepup);
}

/* The consumer's own name, which lives; NULL: it is not in this command. */
static const char *name_of(const struct keepup *keepup, const char *name)
{
	for (unsigned int i = 0; name && i < keepup->rows_count; i++)
		if (strcmp(keepup->rows[i].consumer->variant.name, name) == 0)
			return keepup->rows[i].consumer->variant.name;
	return name && strcmp(name, "c_null") == 0 ? consumer_find("c_null", NULL)->variant.name
						   : NULL;
}

/* Whether a file with this header may be gone on with; its seed is taken over. */
static bool fits(struct keepup *keepup, const json_t *header, char *why, size_t why_bytes)
{
	const json_t *plan = json_object_get(header, "plan");
	json_t *settings = settings_json(keepup);
	bool same = json_equal(settings, json_object_get(header, "keepup")) &&
		    json_integer_value(json_object_get(plan, "connections")) ==
			    keepup->options.connections &&
		    json_integer_value(json_object_get(plan, "size_bytes")) ==
			    keepup->options.size_bytes &&
		    fabs(json_real_value(json_object_get(plan, "duration_s")) -
			 (double)keepup->plan.window_ns / 1e9) < 1e-9;

	json_decref(settings);
	keepup->options.seed = (uint64_t)json_integer_value(json_object_get(header, "seed"));
	if (!same)
		snprintf(
			why, why_bytes,
			"it was begun with other settings; give the same ones, or another --json FILE");
	return same;
}

/* Whole lines of trials are kept, and remembered; what came after them is made anew. */
static int keep_line(struct keepup *keepup, json_t *line, FILE *out)
{
	const char *type = json_string_value(json_object_get(line, "type"));
	const char *name = json_string_value(json_object_get(line, "variant"));
	struct trial trial;

	if (!type || (strcmp(type, "header") != 0 && strcmp(type, "run") != 0))
		return 0;
	if (strcmp(type, "run") == 0) {
		if (trial_from_json(line, &trial) != 0 || trial.run.status == RUN_INTERRUPTED ||
		    trial.run.status == RUN_UNAVAILABLE)
			return 0;
		keepup->file.runs[trial.run.status]++;
		keepup->full_pace[0] = fmax(keepup->full_pace[0], trial.full_pace);
		keepup->full_pace[1] = fmax(keepup->full_pace[1], trial.load_full_pace);
		name = name_of(keepup, name);
		if (name && keepup_past_add(keepup, name, &trial) != 0)
			return -ENOMEM;
	}
	return json_dumpf(line, out, JSON_COMPACT) != 0 || fputc('\n', out) == EOF ? -EIO : 0;
}

static int read_past(struct keepup *keepup, FILE *in, FILE *out, char *why, size_t why_bytes)
{
	char *text = NULL;
	size_t size = 0;
	bool headed = false;
	int err = 0;

	while (!err && getline(&text, &size, in) > 0) {
		json_t *line = json_loads(text, 0, NULL);

		if (!line)
			break; /* cut off: all before it counts */
		if (!headed) {
			const char *workload = json_string_value(json_object_get(line, "workload"));

			headed = true;
			if (!workload || strcmp(workload, KEEPUP_COMMAND) != 0) {
				snprintf(why, why_bytes,
					 "it is not a result file of volley keepup");
				err = -EBADMSG;
			} else if (!fits(keepup, line, why, why_bytes)) {
				err = -EBADMSG;
			}
		}
		err = err ? err : keep_line(keepup, line, out);
		json_decref(line);
	}
	free(text);
	if (!err && !headed) {
		snprintf(why, why_bytes, "there is no whole line in it");
		err = -EBADMSG;
	}
	return err;
}

static int resume(struct keepup *keepup, const char *path)
{
	char beside[4096], why[256] = "";
	FILE *in = fopen(path, "re");

	if (!in && errno == ENOENT)
		return 1; /* nothing to go on with: it is begun */
	snprintf(beside, sizeof(beside), "%s.new", path);
	FILE *out = in ? fopen(beside, "we") : NULL;
	int err = out ? read_past(keepup, in, out, why, sizeof(why)) : -errno;

	if (in)
		fclose(in);
	if (out && fclose(out) != 0 && !err)
		err = -errno;
	if (!err && rename(beside, path) != 0)
		err = -errno;
	if (err) {
		if (out)
			remove(beside);
		fprintf(stderr, "volley keepup: --resume: %s: %s\n", path,
			why[0] ? why : strerror(-err));
		return err;
	}
	keepup->file.path = path;
	keepup->file.file = fopen(path, "ae");
	return keepup->file.file ? 0 : -errno;
}

int keepup_file_open(struct keepup *keepup)
{
	const char *path = keepup->options.json_path;
	int err;

	if (keepup->resume) {
		err = resume(keepup, path);
		if (err <= 0)
			return err == -EBADMSG ? EXIT_DATA : err ? EXIT_ENVIRONMENT : 0;
	}
	err = result_open(&keepup->file, path);
	if (err) {
		fprintf(stderr, "volley keepup: --json: cannot write %s: %s\n", path,
			strerror(-err));
		return EXIT_ENVIRONMENT;
	}
	write_header(keepup);
	return 0;
}

void keepup_file_trial(struct keepup *keepup, const struct keepup_row *row,
		       const struct trial *trial)
{
	(void)row;
	keepup->file.runs[trial->run.status]++;
	if (!keepup->file.file)
		return;
	json_t *line = result_run_line(KEEPUP_COMMAND, &keepup->options, &trial->run);

	json_object_set_new(line, "loop", json_string("open"));
	json_object_set_new(line, "offered_msg_per_s", number(trial->rate));
	json_object_set_new(line, "keepup", trial_to_json(trial));
	result_write(&keepup->file, line);
}

static json_t *overloads_json(const struct keepup_answer *answer)
{
	json_t *array = json_array();

	for (unsigned int i = 0; i < KEEPUP_OVERLOADS; i++) {
		const struct keepup_overload *o = &answer->overloads[i];

		if (o->known)
			json_array_append_new(array,
					      json_pack("{s:f, s:o, s:o, s:b}", "factor",
							keepup_overloads[i], "goodput_share",
							number(o->goodput_share), "recovery_ns",
							number(o->recovery_ns), "held", o->held));
	}
	return array;
}

void keepup_file_answers(struct keepup *keepup)
{
	char sentence[1024];

	for (unsigned int i = 0; keepup->file.file && i < keepup->rows_count; i++) {
		const struct keepup_row *row = &keepup->rows[i];
		const struct keepup_answer *answer = &row->answer;
		json_t *rates = json_array();

		for (unsigned int k = 0; k < KEEPUP_LIMITS; k++)
			json_array_append_new(
				rates, json_pack("{s:f, s:o, s:b, s:b}", "lag_limit_ns",
						 keepup->limits_ns[k], "rate_msg_per_s",
						 answer->known[k] ? number(answer->searches[k].rate)
								  : json_null(),
						 "confirmed",
						 answer->known[k] && answer->searches[k].confirmed,
						 "at_max",
						 answer->known[k] && answer->searches[k].at_max));
		keepup_sentence(keepup, row, sentence, sizeof(sentence));
		result_write(
			&keepup->file,
			json_pack(
				"{s:s, s:s, s:s, s:s?, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s}",
				"type", "answer", "variant", row->consumer->variant.name, "status",
				run_status_name(answer->status), "reason",
				answer->reason[0] ? answer->reason : NULL, "rates", rates,
				"generator_limited", answer->limited, "kappa",
				number(answer->kappa), "effective_ghz", number(answer->ghz),
				"pace_op_per_ns", number(answer->pace), "predicted_msg_per_s",
				number(keepup_predicted(answer)), "overloads",
				overloads_json(answer), "generator_msg_per_s",
				number(keepup->generator), "c_ceiling_msg_per_s",
				number(keepup->ceiling), "sentence", sentence));
	}
}
