/* load_core.c - polls a core, follows the orders of the main thread, tells how far it is */
#include "bench/load_core.h"

#include "bench/descriptors.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define RETRY_POLL_NS INT64_C(5000000)
#define IDLE_POLL_NS                                                                               \
	INT64_C(100000000) /* orders come with a wake-up: this only bounds the harm of a bug */

static void tell(struct load_core *core)
{
	const struct pingpong_figures *figures = pingpong_client_figures(core->client);

	atomic_store_explicit(&core->messages, figures->messages, memory_order_relaxed);
	atomic_store_explicit(&core->outstanding, figures->outstanding, memory_order_relaxed);
	atomic_store_explicit(&core->up, figures->up, memory_order_relaxed);
	atomic_store_explicit(&core->closing, pingpong_client_closing(core->client),
			      memory_order_relaxed);
	if (figures->errors.first_err)
		atomic_store_explicit(&core->failed, true, memory_order_release);
}

/* Takes over a new stage. */
static void obey(struct load_core *core, int stage)
{
	if (stage == LOAD_STAGE_RUN)
		pingpong_client_start(core->client, atomic_load_explicit(&core->orders->start_ns,
									 memory_order_relaxed));
	else if (stage == LOAD_STAGE_HOLD || stage == LOAD_STAGE_DRAIN)
		pingpong_client_drain(core->client);
	else if (stage == LOAD_STAGE_HANG_UP)
		pingpong_client_hang_up(core->client);
	tell(core);
	atomic_store_explicit(&core->stage_done, (unsigned)stage, memory_order_release);
}

static void take_window(struct load_core *core)
{
	/* pairs with the release in load.c's open_window() */
	unsigned count = atomic_load_explicit(&core->orders->windows_count, memory_order_acquire);
	const struct load_window *window = &core->orders->windows[count - 1];

	if (count)
		pingpong_client_window(core->client, window->begin_ns,
				       atomic_load_explicit(&window->end_ns, memory_order_relaxed));
}

/* How long the core may sleep: until something is due. */
static int64_t until_due(struct load_core *core, uint64_t now_ns, int64_t timeout_ns)
{
	uint64_t due_ns = pingpong_client_tick(core->client, now_ns);

	if (due_ns == UINT64_MAX)
		return timeout_ns;
	now_ns = vly_now_ns();
	if (due_ns <= now_ns)
		return 0;
	return due_ns - now_ns < (uint64_t)timeout_ns ? (int64_t)(due_ns - now_ns) : timeout_ns;
}

static int loop(struct load_core *core, struct vly_core *vly)
{
	int stage = LOAD_STAGE_CONNECT;
	int64_t timeout_ns = 0;

	for (;;) {
		struct vly_event *events;
		int count = vly_poll(vly, &events, timeout_ns);
		uint64_t now_ns = vly_now_ns();
		int ordered;

		if (count < 0)
			return count;
		take_window(core);
		pingpong_client_events(core->client, events, count, now_ns);
		timeout_ns = IDLE_POLL_NS;
		/* also later: connections may be opened again */
		if (stage <= LOAD_STAGE_HOLD && pingpong_client_connect(core->client, now_ns))
			timeout_ns = RETRY_POLL_NS;
		/* pairs with the release in load.c's order() */
		ordered = atomic_load_explicit(&core->orders->stage, memory_order_acquire);
		if (ordered == LOAD_STAGE_QUIT)
			return 0;
		if (ordered != stage) {
			stage = ordered;
			obey(core, stage);
		}
		timeout_ns = until_due(core, now_ns, timeout_ns);
		tell(core);
	}
}

static void *run(void *arg)
{
	struct load_core *core = arg;
	struct vly_core *vly = NULL;

	/* messages that are due at a time shall not wait for the default 50 us more */
	(void)prctl(PR_SET_TIMERSLACK, 1);
	(void)descriptors_unshare(); /* where it is refused, cores share one table: see preflight */
	core->err = vly_core_open(core->engine, core->index, &vly);
	if (!core->err)
		core->err = pingpong_client_open(vly, &core->params, &core->client);
	if (!core->err)
		core->err = loop(core, vly);
	if (core->err)
		atomic_store_explicit(&core->failed, true, memory_order_release);
	vly_core_close(vly);
	return NULL;
}

int load_core_start(struct load_core *core)
{
	pthread_attr_t attr;
	cpu_set_t set;
	int err = pthread_attr_init(&attr);

	if (err)
		return -err;
	if (core->cpu >= 0) {
		CPU_ZERO(&set);
		CPU_SET(core->cpu, &set);
		err = pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	}
	if (!err)
		err = pthread_create(&core->thread, &attr, run, core);
	pthread_attr_destroy(&attr);
	core->started = !err;
	return -err;
}

void load_core_join(struct load_core *core)
{
	if (core->started)
		pthread_join(core->thread, NULL);
	core->started = false;
}

void load_core_fini(struct load_core *core)
{
	pingpong_client_close(core->client);
	core->client = NULL;
}

uint64_t load_cores_messages(const struct load_core *cores, unsigned count)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < count; i++)
		sum += atomic_load_explicit(&cores[i].messages, memory_order_relaxed);
	return sum;
}

uint64_t load_cores_outstanding(const struct load_core *cores, unsigned count)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < count; i++)
		sum += atomic_load_explicit(&cores[i].outstanding, memory_order_relaxed);
	return sum;
}

uint32_t load_cores_up(const struct load_core *cores, unsigned count)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < count; i++)
		sum += atomic_load_explicit(&cores[i].up, memory_order_relaxed);
	return sum;
}

bool load_cores_failed(const struct load_core *cores, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (atomic_load_explicit(&cores[i].failed, memory_order_acquire))
			return true;
	return false;
}

bool load_cores_reached(const struct load_core *cores, unsigned count, enum load_stage stage)
{
	for (unsigned i = 0; i < count; i++)
		if (atomic_load_explicit(&cores[i].stage_done, memory_order_acquire) != stage)
			return false;
	return true;
}

uint64_t load_core_cpu_ns(const struct load_core *core)
{
	struct timespec run_time;
	clockid_t clock;

	if (!core->started || pthread_getcpuclockid(core->thread, &clock) ||
	    clock_gettime(clock, &run_time))
		return 0;
	return (uint64_t)run_time.tv_sec * 1000000000u + (uint64_t)run_time.tv_nsec;
}
