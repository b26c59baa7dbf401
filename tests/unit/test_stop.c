/* test_stop.c - stopping an application of callbacks */
#include "engine/core.h"

#include <pthread.h>

#include "tests/support/rig.h"

TestSuite(stop, .fini = vly_leak_gate, .timeout = 60);

struct app {
	struct vly_engine *engine;
	struct vly_addr addr;
	vly_conn conns[2];
	int opened, closed;
};

static int start(struct vly_core *core, void *arg, void **state)
{
	struct app *app = *state = arg;
	struct vly_addr any;
	vly_conn listener;

	app->engine = vly_core_engine(core);
	if (vly_addr_parse("127.0.0.1:0", &any))
		return -EINVAL;
	int error = vly_listen(core, &any, NULL, app, &listener);

	if (!error)
		error = vly_name(core, listener, &app->addr, NULL);
	return error ? error : vly_connect(core, &app->addr, NULL, app, &app->conns[0]);
}

static void events(struct vly_core *core, struct vly_event *list, int count, void *state)
{
	struct app *app = state;

	(void)core;
	for (int i = 0; i < count; i++) {
		app->opened += list[i].kind == VLY_OPEN;
		app->closed += list[i].kind == VLY_CLOSED;
	}
	if (app->opened == 2)
		vly_stop(app->engine);
}

/* Nothing is left to wait for once the last CLOSED was delivered. */
Test(stop, ends_with_the_last_closed_however_long_it_might_wait)
{
	const struct vly_app callbacks = {.start = start, .events = events};
	struct vly_config config;
	struct app app = {0};

	rig_config(&config);
	vly_log_set(rig_swallow, NULL, VLY_LOG_ERROR);
	config.stop_timeout_ns = 3600000000000;
	alarm(20); /* the hour is the failure */
	cr_assert_eq(vly_run(&config, &callbacks, &app), 0);
	cr_assert_eq(app.closed, 2);
}

Test(stop, stop_timeout_of_all_time_still_closes_in_order)
{
	const struct vly_app callbacks = {.start = start, .events = events};
	struct vly_config config;
	struct app app = {0};

	rig_config(&config);
	vly_log_set(rig_swallow, NULL, VLY_LOG_ERROR);
	config.stop_timeout_ns = UINT64_MAX;
	alarm(20);
	cr_assert_eq(vly_run(&config, &callbacks, &app), 0);
	cr_assert_eq(app.closed, 2, "%d CLOSED: stopping gave up at once", app.closed);
}
