/* generator.c - messages offered by a thread on a CPU of its own, when they are due, whoever takes them */
#include "pyshim/generator.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "pyshim/meter.h"
#include "volley/volley.h"

#define unlikely(x) __builtin_expect(!!(x), 0)
#define BURST 64u             /* messages shown to the consumer at once */
#define AHEAD 8u              /* messages whose memory is asked for in advance */
#define TAKEN_NS 20000        /* between two looks at the clock: somebody else had the CPU */
#define OVERTIME_NS 10000000  /* beyond a step's end, for what was due in it */
#define NAP_NS 20000 /* before the beginning */

/* What stands beside a payload, which begins with the first two. */
struct entry {
	uint64_t number, stamp_ns;
	uint32_t index;
};

struct generator {
	struct source_spec spec;
	struct meter *meter;
	struct entry *entries;
	uint8_t *payloads;
	size_t stride, memory_bytes;
	uint32_t mask;
	pthread_t thread;

	/* written by the thread */
	alignas(128) _Atomic uint64_t head; /* release: messages before it are whole */
	uint64_t tail_seen, random;
	uint64_t looked_ns, taken_ns; /* the last look; what others took of the CPU since the beginning */
	uint32_t next;                /* linear order */

	/* written by the consumer */
	alignas(128) _Atomic uint64_t tail; /* release: those before it are given back */
	uint64_t head_seen, taken;
	atomic_bool started, over;
};

static void pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	(void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set); /* slower, not wrong */
}

/* xorshift64* (Vigna 2016), scaled by a multiplication. */
static uint32_t pick(struct generator *g)
{
	if (g->spec.linear) {
		g->next = g->next + 1 < g->spec.conns ? g->next + 1 : 0;
		return g->next;
	}
	g->random ^= g->random >> 12;
	g->random ^= g->random << 25;
	g->random ^= g->random >> 27;
	return (uint32_t)(((g->random * 2685821657736338717u >> 32) * g->spec.conns) >> 32);
}

/* Where the schedule stands. */
struct pace {
	unsigned int step;
	uint64_t begin_ns, end_ns; /* of the step */
	uint64_t before;           /* messages due before it */
	double per_ns, ns_each;
};

static bool pace_next(const struct source_spec *spec, struct pace *pace, unsigned int step)
{
	if (step >= spec->steps_count)
		return false;
	const struct source_step *s = &spec->steps[step];

	pace->step = step;
	pace->begin_ns = pace->end_ns;
	pace->end_ns = s->ms ? pace->begin_ns + s->ms * 1000000u : UINT64_MAX;
	pace->per_ns = (double)s->rate / 1e9;
	pace->ns_each = s->rate ? 1e9 / (double)s->rate : 0;
	return true;
}

/* Messages of this step due by `now_ns`, at its end at the latest. */
static uint64_t pace_due(const struct pace *pace, uint64_t now_ns)
{
	uint64_t until_ns = now_ns < pace->end_ns ? now_ns : pace->end_ns;

	return until_ns > pace->begin_ns
		       ? (uint64_t)((double)(until_ns - pace->begin_ns) * pace->per_ns)
		       : 0;
}

static void write_message(struct generator *g, uint64_t at, uint64_t number, uint64_t stamp_ns)
{
	uint8_t *data = g->payloads + (at & g->mask) * g->stride;
	struct entry *entry = &g->entries[at & g->mask];

	__builtin_prefetch(g->payloads + ((at + AHEAD) & g->mask) * g->stride, 1);
	__builtin_prefetch(&g->entries[(at + AHEAD) & g->mask], 1);
	*entry = (struct entry){number, stamp_ns, pick(g)};
	memcpy(data, entry, g->spec.len < 16 ? g->spec.len : 16);
	/* as a card writes them: each line of it is new to the consumer's cache */
	for (uint64_t line = 64; line < g->spec.len; line += 64)
		data[line] = (uint8_t)number;
}

/* Offers messages first..first + count of the step. */
static void offer(struct generator *g, const struct pace *pace, uint64_t first, uint64_t count)
{
	uint64_t head = atomic_load_explicit(&g->head, memory_order_relaxed);
	uint64_t room, put;
	/* on the clock's time; the nth message of a step is due after n intervals */
	uint64_t begin_ns = pace->begin_ns + g->taken_ns;
	double stamp_ns = (double)(first + 1) * pace->ns_each;

	if (head + count - g->tail_seen > (uint64_t)g->mask + 1)
		g->tail_seen = atomic_load_explicit(&g->tail, memory_order_acquire);
	room = (uint64_t)g->mask + 1 - (head - g->tail_seen);
	put = count < room ? count : room;
	for (uint64_t i = 0; i < put; i++, stamp_ns += pace->ns_each)
		write_message(g, head + i, pace->before + first + i,
			      begin_ns + (uint64_t)stamp_ns);
	atomic_store_explicit(&g->head, head + put, memory_order_release);

	uint64_t now_ns = vly_now_ns();
	uint64_t due_ns = begin_ns + (uint64_t)((double)(first + 1) * pace->ns_each);
	uint32_t slice = meter_slice(g->meter, now_ns);

	meter_add(&g->meter->offered, count);
	meter_add(&g->meter->offered_slices[slice], count);
	if (put < count) {
		meter_add(&g->meter->dropped, count - put);
		meter_add(&g->meter->dropped_slices[slice], count - put);
	}
	if (due_ns >= meter_read(&g->meter->window_begin_ns) &&
	    due_ns < meter_read(&g->meter->window_end_ns))
		meter_record(&g->meter->late, now_ns > due_ns ? now_ns - due_ns : 0, count);
}

/*
 * The schedule's time: what others took of this CPU is left out, so that what was due meanwhile does not come
 * in one lump, which no consumer could be blamed for. A thread that only looks at the clock and writes messages
 * takes no longer than a few microseconds between two looks; if it did, and has not run, it was not there.
 */
static uint64_t look(struct generator *g)
{
	uint64_t now_ns = vly_now_ns();
	uint64_t gap_ns = now_ns - g->looked_ns;

	g->looked_ns = now_ns;
	if (unlikely(gap_ns > TAKEN_NS)) {
		g->taken_ns += gap_ns;
		if (now_ns >= meter_read(&g->meter->window_begin_ns) &&
		    now_ns < meter_read(&g->meter->window_end_ns))
			meter_add(&g->meter->generator_taken_ns, gap_ns);
	}
	return now_ns - g->taken_ns;
}

static void follow(struct generator *g)
{
	/* on the schedule's time */
	struct pace pace = {.end_ns = meter_read(&g->meter->began_ns)};
	uint64_t made = 0; /* of this step */

	g->looked_ns = vly_now_ns();

	if (!pace_next(&g->spec, &pace, 0))
		return;
	while (!atomic_load_explicit(&g->over, memory_order_relaxed)) {
		uint64_t now_ns = look(g);
		uint64_t due = pace_due(&pace, now_ns);

		if (due > made && now_ns < pace.end_ns + OVERTIME_NS) {
			uint64_t burst = due - made < BURST ? due - made : BURST;

			offer(g, &pace, made, burst);
			made += burst;
		} else if (now_ns >= pace.end_ns) {
			pace.before += made;
			made = 0;
			if (!pace_next(&g->spec, &pace, pace.step + 1))
				return;
		}
	}
}

static void *run(void *arg)
{
	struct generator *g = arg;
	const struct timespec nap = {.tv_nsec = NAP_NS};

	pin(g->spec.cpu);
	while (!atomic_load_explicit(&g->started, memory_order_acquire)) {
		if (atomic_load_explicit(&g->over, memory_order_relaxed))
			return NULL;
		nanosleep(&nap, NULL);
	}
	uint64_t began_ns = vly_now_ns() + 1000000;

	atomic_store_explicit(&g->meter->window_begin_ns, began_ns + g->spec.from_ms * 1000000u,
			      memory_order_relaxed);
	atomic_store_explicit(&g->meter->window_end_ns,
			      g->spec.until_ms ? began_ns + g->spec.until_ms * 1000000u : UINT64_MAX,
			      memory_order_relaxed);
	atomic_store_explicit(&g->meter->began_ns, began_ns, memory_order_release);
	follow(g);
	atomic_store_explicit(&g->meter->done, 1, memory_order_release);
	return NULL;
}

/* ---- the consumer's side ---- */

void generator_start(struct generator *g)
{
	atomic_store_explicit(&g->started, true, memory_order_release);
}

void generator_release(struct generator *g)
{
	atomic_store_explicit(&g->tail, g->taken, memory_order_release);
}

bool generator_next(struct generator *g, struct generator_message *message)
{
	if (g->taken == g->head_seen) {
		g->head_seen = atomic_load_explicit(&g->head, memory_order_acquire);
		if (g->taken == g->head_seen)
			return false;
	}
	uint64_t at = g->taken++;
	const struct entry *entry = &g->entries[at & g->mask];

	__builtin_prefetch(g->payloads + ((at + AHEAD) & g->mask) * g->stride);
	__builtin_prefetch(&g->entries[(at + AHEAD) & g->mask]);
	message->stamp_ns = entry->stamp_ns;
	message->number = entry->number;
	message->index = entry->index;
	message->data = g->payloads + (at & g->mask) * g->stride;
	return true;
}

void generator_put_back(struct generator *g)
{
	g->taken--;
}

uint32_t generator_skim(struct generator *g)
{
	uint64_t head = atomic_load_explicit(&g->head, memory_order_acquire);
	uint32_t count = (uint32_t)(head - g->taken);

	/* not at every look: the line would travel to and fro */
	if (count <= g->mask / 4)
		return 0;
	g->taken = g->head_seen = head;
	generator_release(g);
	return count;
}

/* ---- life ---- */

static int take_memory(struct generator *g)
{
	size_t slots = (size_t)g->mask + 1;

	g->stride = (g->spec.len + 63) & ~(size_t)63;
	g->memory_bytes = slots * (g->stride + sizeof(struct entry));
	g->payloads = mmap(NULL, g->memory_bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g->payloads == MAP_FAILED) {
		g->payloads = NULL;
		return -ENOMEM;
	}
	(void)madvise(g->payloads, g->memory_bytes, MADV_HUGEPAGE); /* slower, not wrong */
	memset(g->payloads, 0, g->memory_bytes);
	g->entries = (struct entry *)(void *)(g->payloads + slots * g->stride);
	return 0;
}

static void give_memory(struct generator *g)
{
	if (g->payloads)
		munmap(g->payloads, g->memory_bytes);
	free(g);
}

int generator_open(const struct source_spec *spec, struct meter *meter, struct generator **out)
{
	struct generator *g = aligned_alloc(alignof(struct generator), sizeof(*g));
	sigset_t all, old;
	int error;

	if (!g)
		return -ENOMEM;
	memset(g, 0, sizeof(*g));
	g->spec = *spec;
	g->meter = meter;
	g->mask = (uint32_t)spec->ring - 1;
	g->random = spec->seed;
	error = take_memory(g);
	if (error)
		goto fail;
	sigfillset(&all); /* signals are the consumer's */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = -pthread_create(&g->thread, NULL, run, g);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error)
		goto fail;
	*out = g;
	return 0;
fail:
	give_memory(g);
	return error;
}

void generator_close(struct generator *g)
{
	if (!g)
		return;
	atomic_store_explicit(&g->over, true, memory_order_relaxed);
	pthread_join(g->thread, NULL);
	give_memory(g);
}
