/* options.c - the arguments of Engine() */
#include "pyshim/options.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What the parser fills in; names and defaults are those of Engine(). */
struct arguments {
	const char *nic, *mode, *overload, *idle, *meter;
	PyObject *cpu, *tx_budget, *tx_bufs, *tx_buf_bytes, *close_timeout;
	Py_ssize_t max_batch, ring, max_pinned, flush_every, conns_max;
	long long flush_ns;
	double spin_us;
	int prefetch, huge_pages;
};

int options_check_types(PyObject *kwargs, const struct option_type *types)
{
	for (; kwargs && types->name; types++) {
		PyObject *value = PyDict_GetItemString(kwargs, types->name);

		if (!value || (types->type == 's' && PyUnicode_Check(value)) ||
		    (types->type == 'i' && PyIndex_Check(value)) ||
		    (types->type == 'f' && PyNumber_Check(value) && !PyComplex_Check(value)))
			continue;
		PyErr_Format(PyExc_TypeError, "%s must be %s, not %.100s", types->name,
			     types->type == 's'   ? "str"
			     : types->type == 'i' ? "int"
						  : "a number",
			     Py_TYPE(value)->tp_name);
		return -1;
	}
	return 0;
}

static int check_range(const char *name, long long value, long long min, long long max)
{
	if (value >= min && value <= max)
		return 0;
	PyErr_Format(PyExc_ValueError, "%s must be %lld..%lld, not %lld", name, min, max, value);
	return -1;
}

/* The index of `value` among three names (NULL ends earlier), or -1 with ValueError. */
static int choose(const char *argument, const char *value, const char *const names[4])
{
	for (int i = 0; names[i]; i++)
		if (strcmp(value, names[i]) == 0)
			return i;
	PyErr_Format(PyExc_ValueError, "%s must be '%s' or '%s'%s%s%s, not '%.50s'", argument,
		     names[0], names[1], names[2] ? " or '" : "", names[2] ? names[2] : "",
		     names[2] ? "'" : "", value);
	return -1;
}

/* None leaves `*value` as it is. */
static int optional_int(const char *name, PyObject *object, long long min, long long max,
			long long *value)
{
	if (object == Py_None)
		return 0;
	if (!PyLong_Check(object)) {
		PyErr_Format(PyExc_TypeError, "%s must be an int or None, not %.100s", name,
			     Py_TYPE(object)->tp_name);
		return -1;
	}
	*value = PyLong_AsLongLong(object);
	if (*value == -1 && PyErr_Occurred())
		return -1;
	return check_range(name, *value, min, max);
}

static int parse_idle(struct engine_options *options, const struct arguments *a)
{
	static const char *const idles[4] = {"adaptive", "sleep", "busy", NULL};
	static const enum vly_idle values[] = {VLY_IDLE_ADAPTIVE, VLY_IDLE_SLEEP, VLY_IDLE_BUSY};
	int idle = a->spin_us > 0 ? 0 : 1;

	if (!(a->spin_us >= 0 && a->spin_us <= 1e9)) {
		PyErr_SetString(PyExc_ValueError, "spin_us must be 0..1e9 microseconds");
		return -1;
	}
	if (a->idle) {
		idle = choose("idle", a->idle, idles);
		if (idle < 0)
			return -1;
	}
	options->config.idle = values[idle];
	if (a->spin_us > 0)
		options->config.spin_ns = (uint64_t)(a->spin_us * 1000);
	return 0;
}

static int parse_limits(struct engine_options *options, const struct arguments *a)
{
	struct vly_config *config = &options->config;
	long long tx_budget = config->tx_budget, tx_bufs = config->tx_bufs;
	long long tx_buf_bytes = config->tx_buf_bytes;

	if (check_range("max_batch", a->max_batch, 16, 65536) ||
	    check_range("ring", a->ring, 16, 1 << 24) ||
	    check_range("max_pinned", a->max_pinned, 0, 1 << 20) ||
	    check_range("flush_every", a->flush_every, 0, 1 << 30) ||
	    check_range("flush_ns", a->flush_ns, 0, 1000000000000ll) ||
	    check_range("conns_max", a->conns_max, 1, (1 << 26) - 16) ||
	    optional_int("tx_budget", a->tx_budget, 1, 1 << 30, &tx_budget) ||
	    optional_int("tx_bufs", a->tx_bufs, 2, 1 << 24, &tx_bufs) ||
	    optional_int("tx_buf_bytes", a->tx_buf_bytes, 64, 1 << 20, &tx_buf_bytes))
		return -1;
	config->events_max = (uint32_t)a->max_batch;
	config->burst_max = Py_MIN(config->burst_max, config->events_max);
	config->conns_max = (uint32_t)a->conns_max + 1; /* the pipe that tells signals */
	config->tx_budget = (uint32_t)tx_budget;
	config->tx_bufs = (uint32_t)tx_bufs;
	config->tx_buf_bytes = (uint32_t)tx_buf_bytes;
	options->ring = (uint32_t)a->ring;
	options->max_pinned = (uint32_t)a->max_pinned;
	options->flush_every = (uint32_t)a->flush_every;
	options->flush_ns = (uint64_t)a->flush_ns;
	return 0;
}

static int parse_cpu(struct engine_options *options, const struct arguments *a)
{
	long long cpu = -1;

	if (optional_int("cpu", a->cpu, 0, 4095, &cpu))
		return -1;
	options->cpu = (int)cpu;
	if (cpu >= 0) {
		snprintf(options->cpus, sizeof(options->cpus), "%lld", cpu);
		options->config.cpus = options->cpus;
	}
	return 0;
}

static int parse_close_timeout(struct engine_options *options, PyObject *object)
{
	double seconds;

	if (object == Py_None)
		return 0;
	if (!PyNumber_Check(object)) {
		PyErr_Format(PyExc_TypeError, "close_timeout must be a number or None, not %.100s",
			     Py_TYPE(object)->tp_name);
		return -1;
	}
	seconds = PyFloat_AsDouble(object);
	if (seconds == -1.0 && PyErr_Occurred())
		return -1;
	if (!(seconds > 0 && seconds < 1e9)) {
		PyErr_SetString(PyExc_ValueError, "close_timeout must be above 0 seconds");
		return -1;
	}
	options->config.close_timeout_ns = (uint64_t)(seconds * 1e9);
	return 0;
}

static int copy_name(const char *what, const char *name, char *to, size_t bytes)
{
	if (strlen(name) >= bytes) {
		PyErr_Format(PyExc_ValueError, "%s is too long", what);
		return -1;
	}
	memcpy(to, name, strlen(name) + 1);
	return 0;
}

int options_parse(struct engine *engine, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {
		"nic",         "mode",     "cpu",       "max_batch",    "ring",
		"spin_us",     "idle",     "overload",  "prefetch",     "max_pinned",
		"flush_every", "flush_ns", "conns_max", "tx_budget",    "close_timeout",
		"huge_pages",  "tx_bufs",  "meter",     "tx_buf_bytes", NULL};
	static const char *const modes[4] = {"inline", "thread", NULL};
	static const char *const overloads[4] = {"pause", "drop", NULL};
	struct engine_options *options = &engine->options;
	struct arguments a = {
		.nic = "auto",
		.mode = "inline",
		.overload = "pause",
		.cpu = Py_None,
		.tx_budget = Py_None,
		.tx_bufs = Py_None,
		.tx_buf_bytes = Py_None,
		.close_timeout = Py_None,
		.max_batch = 256,
		.ring = 4096,
		.max_pinned = 64,
		.conns_max = 16384,
		.prefetch = 1,
		.huge_pages = 1,
	};
	static const struct option_type types[] = {{"nic", 's'},
						   {"mode", 's'},
						   {"overload", 's'},
						   {"max_batch", 'i'},
						   {"ring", 'i'},
						   {"spin_us", 'f'},
						   {"max_pinned", 'i'},
						   {"flush_every", 'i'},
						   {"flush_ns", 'i'},
						   {"conns_max", 'i'},
						   {0}};
	int mode, overload;

	if (options_check_types(kwargs, types))
		return -1;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|s$sOnndzspnnLnOOpOzO:Engine",
					 (char **)(uintptr_t)names, &a.nic, &a.mode, &a.cpu,
					 &a.max_batch, &a.ring, &a.spin_us, &a.idle, &a.overload,
					 &a.prefetch, &a.max_pinned, &a.flush_every, &a.flush_ns,
					 &a.conns_max, &a.tx_budget, &a.close_timeout,
					 &a.huge_pages, &a.tx_bufs, &a.meter, &a.tx_buf_bytes))
		return -1;
	vly_config_init(&options->config);
	mode = choose("mode", a.mode, modes);
	overload = mode < 0 ? -1 : choose("overload", a.overload, overloads);
	if (mode < 0 || overload < 0)
		return -1;
	if (copy_name("nic", a.nic, options->nic, sizeof(options->nic)) ||
	    copy_name("meter", a.meter ? a.meter : "", options->meter, sizeof(options->meter)))
		return -1;
	if (parse_idle(options, &a) || parse_limits(options, &a) || parse_cpu(options, &a) ||
	    parse_close_timeout(options, a.close_timeout))
		return -1;
	options->threaded = mode == 1;
	options->drop = overload == 1;
	options->config.nic = options->nic;
	options->config.huge_pages = a.huge_pages;
	options->config.allow_overlap = true; /* several processes of one core each */
	engine->prefetch = a.prefetch;
	return 0;
}
