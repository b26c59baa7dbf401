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
#define BURST_BYTES                                                                                \
	16384u         /* shown to the consumer at once: what takes a few microseconds to write */
#define BURST_MAX 256u /* messages of it */
#define WRITE_AHEAD 8u /* messages whose memory is asked for in advance */
#define READ_AHEAD 32u /* each comes from another cache */
#define TAKEN_NS 20000 /* between two looks at the clock: somebody else had the CPU */
#define OVERTIME_NS 10000000 /* beyond a step's end, for what was due in it */
#define NAP_NS 20000         /* before the beginning */
#define FRACTION_BITS 20u    /* of a nanosecond, in a burst's due times */

/* A line that is going to be written is wanted whole: a read alone would have to ask twice. */
#if defined(__x86_64__)
#define WRITES_AHEAD                                                                               \
	__attribute__((target("prfchw"))) /* nothing happens on a CPU that has it not */
#else
#define WRITES_AHEAD
#endif

/*
 * Messages lie in chunks: first their connections, then their payloads, which begin with number and due
 * time. The chunk that was given back last is filled next: as long as the consumer keeps up, a few of
 * them go to and fro between two caches, however much may wait in the ring.
 */
#define CHUNK SOURCE_RING_MIN /* messages */

struct generator {
	struct source_spec spec;
	struct meter *meter;
	uint8_t *memory;
	uint32_t *order; /* at (n / CHUNK) & order_mask: the chunk of message n; published with `head` */
	uint32_t *spare; /* chunks that nobody uses; the generator's */
	size_t stride, chunk_bytes, memory_bytes;
	uint32_t order_mask;
	pthread_t thread;

	/* written by the thread */
	alignas(128) _Atomic uint64_t head; /* release: messages before it are whole */
	uint64_t tail_seen, random;
	uint64_t freed; /* chunks that came back */
	uint8_t *filling;
	uint64_t looked_ns,
		taken_ns; /* the last look; what others took of the CPU since the beginning */
	uint32_t spare_count;
	uint32_t next; /* linear order */

	/* written by the consumer */
	alignas(128) _Atomic uint64_t tail; /* release: those before it are given back */
	uint64_t head_seen, taken;
	const uint8_t *reading; /* the chunk of `taken` */
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

/* What the messages of a burst have: the first one's, and what is added from one to the next. */
struct burst {
	uint64_t number;
	uint64_t due_ns, fraction, step; /* the latter two in 2^-FRACTION_BITS ns */
};

/* xorshift64* (Vigna 2016), scaled by a multiplication. */
static inline uint32_t pick(uint64_t *random, uint64_t conns)
{
	*random ^= *random >> 12;
	*random ^= *random << 25;
	*random ^= *random >> 27;
	return (uint32_t)(((*random * 2685821657736338717u >> 32) * conns) >> 32);
}

static inline uint32_t next_conn(uint32_t *next, uint64_t conns)
{
	*next = *next + 1 < conns ? *next + 1 : 0;
	return *next;
}

/* Writes so many messages into the chunk that is being filled, from `place` on. */
WRITES_AHEAD static void write_messages(struct generator *g, uint32_t place, uint32_t count,
					struct burst *burst)
{
	const size_t stride = g->stride, len = g->spec.len;
	const uint64_t conns = g->spec.conns;
	const bool linear = g->spec.linear;
	uint32_t *index = (uint32_t *)(void *)g->filling + place, next = g->next;
	uint8_t *data = g->filling + CHUNK * sizeof(uint32_t) + place * stride;
	uint8_t *last = g->filling + g->chunk_bytes - stride;
	struct burst at = *burst;
	uint64_t random = g->random;

	for (uint32_t i = 0; i < count; i++, data += stride) {
		uint8_t *ahead = data + WRITE_AHEAD * stride;
		uint64_t words[2] = {at.number++, at.due_ns + (at.fraction >> FRACTION_BITS)};

		__builtin_prefetch(ahead < last ? ahead : last, 1);
		memcpy(data, words, sizeof(words));
		index[i] = linear ? next_conn(&next, conns) : pick(&random, conns);
		at.fraction += at.step;
		/* as a card writes them: each line of it is new to the consumer's cache */
		for (size_t line = 64; line < len; line += 64)
			data[line] = (uint8_t)at.number;
	}
	g->random = random;
	g->next = next;
	*burst = at;
}

/* What the consumer has given back by now. */
static void see_tail(struct generator *g)
{
	g->tail_seen = atomic_load_explicit(&g->tail, memory_order_acquire);
	while (g->freed < g->tail_seen / CHUNK)
		g->spare[g->spare_count++] = g->order[g->freed++ & g->order_mask];
}

/* There is always one: there are as many as the ring takes, and one more for one that is half given back. */
static void next_chunk(struct generator *g, uint64_t head)
{
	uint32_t chunk;

	see_tail(g);
	chunk = g->spare[--g->spare_count];
	g->order[(head / CHUNK) & g->order_mask] = chunk;
	g->filling = g->memory + chunk * g->chunk_bytes;
}

/* Writes `count` messages at `head`, for which there is room. */
static void put_messages(struct generator *g, uint64_t head, uint64_t count, struct burst *burst)
{
	while (count) {
		uint32_t place = (uint32_t)(head % CHUNK);
		uint32_t part = count < CHUNK - place ? (uint32_t)count : CHUNK - place;

		if (place == 0)
			next_chunk(g, head);
		write_messages(g, place, part, burst);
		head += part;
		count -= part;
	}
	atomic_store_explicit(&g->head, head, memory_order_release);
}

/* What became of a burst, whose first message was due at due_ns. */
struct offered {
	uint64_t count, put, due_ns; /* put: into the ring */
};

/* Offers messages first..first + count of the step. */
static struct offered offer(struct generator *g, const struct pace *pace, uint64_t first,
			    uint64_t count)
{
	uint64_t head = atomic_load_explicit(&g->head, memory_order_relaxed);
	/* on the clock's time; the nth message of a step is due after n intervals */
	uint64_t due_ns = (uint64_t)((double)(first + 1) * pace->ns_each);
	struct burst burst = {
		.number = pace->before + first,
		.due_ns = pace->begin_ns + g->taken_ns + due_ns,
		.step = (uint64_t)(pace->ns_each * (1u << FRACTION_BITS)),
	};
	struct offered offered = {.count = count, .due_ns = burst.due_ns};
	uint64_t room;

	burst.fraction = (uint64_t)(((double)(first + 1) * pace->ns_each - (double)due_ns) *
				    (1u << FRACTION_BITS));
	if (head + count - g->tail_seen > g->spec.ring)
		see_tail(g);
	room = g->spec.ring - (head - g->tail_seen);
	offered.put = count < room ? count : room;
	put_messages(g, head, offered.put, &burst);
	return offered;
}

/* It was done at now_ns, after took_ns. */
static void note(struct generator *g, const struct offered *offered, uint64_t now_ns,
		 uint64_t took_ns)
{
	uint32_t slice = meter_slice(g->meter, now_ns);
	uint64_t dropped = offered->count - offered->put, due_ns = offered->due_ns;

	meter_add(&g->meter->offered, offered->count);
	meter_add(&g->meter->offered_slices[slice], offered->count);
	if (dropped) {
		meter_add(&g->meter->dropped, dropped);
		meter_add(&g->meter->dropped_slices[slice], dropped);
	}
	if (due_ns < meter_read(&g->meter->window_begin_ns) ||
	    due_ns >= meter_read(&g->meter->window_end_ns))
		return;
	meter_record(&g->meter->late, now_ns > due_ns ? now_ns - due_ns : 0, offered->count);
	if (offered->put) {
		meter_add(&g->meter->put, offered->put);
		meter_add(&g->meter->putting_ns, took_ns);
	}
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
	const uint64_t burst_max = g->stride * BURST_MAX < BURST_BYTES ? BURST_MAX
				   : g->stride < BURST_BYTES           ? BURST_BYTES / g->stride
								       : 1;
	uint64_t made = 0; /* of this step */

	g->looked_ns = vly_now_ns();
	if (!pace_next(&g->spec, &pace, 0))
		return;
	uint64_t now_ns = look(g);
	while (!atomic_load_explicit(&g->over, memory_order_relaxed)) {
		uint64_t due = pace_due(&pace, now_ns);

		if (due > made && now_ns < pace.end_ns + OVERTIME_NS) {
			uint64_t count = due - made < burst_max ? due - made : burst_max;
			uint64_t taken_ns = g->taken_ns, began_ns = g->looked_ns;
			struct offered offered = offer(g, &pace, made, count);

			made += count;
			now_ns = look(g);
			note(g, &offered, g->looked_ns,
			     g->taken_ns == taken_ns ? g->looked_ns - began_ns : 0);
			continue;
		}
		if (now_ns >= pace.end_ns) {
			pace.before += made;
			made = 0;
			if (!pace_next(&g->spec, &pace, pace.step + 1))
				return;
		}
		now_ns = look(g);
	}
}

/* Until somebody asks for messages, and whoever holds the schedule lets it go. False: it is over before. */
static bool wait_to_begin(struct generator *g)
{
	const struct timespec nap = {.tv_nsec = NAP_NS};

	for (;;) {
		bool started = atomic_load_explicit(&g->started, memory_order_acquire);

		if (atomic_load_explicit(&g->over, memory_order_relaxed))
			return false;
		if (started && !meter_read(&g->meter->asked_ns))
			atomic_store_explicit(&g->meter->asked_ns, vly_now_ns(),
					      memory_order_relaxed);
		if (started && (!g->spec.held || meter_read(&g->meter->released)))
			return true;
		nanosleep(&nap, NULL);
	}
}

static void *run(void *arg)
{
	struct generator *g = arg;

	pin(g->spec.cpu);
	if (!wait_to_begin(g))
		return NULL;
	uint64_t began_ns = vly_now_ns() + 1000000;

	atomic_store_explicit(&g->meter->window_begin_ns, began_ns + g->spec.from_ms * 1000000u,
			      memory_order_relaxed);
	atomic_store_explicit(&g->meter->window_end_ns,
			      g->spec.until_ms ? began_ns + g->spec.until_ms * 1000000u
					       : UINT64_MAX,
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

static inline const uint8_t *payload_of(const struct generator *g, const uint8_t *chunk,
					uint32_t place)
{
	return chunk + CHUNK * sizeof(uint32_t) + place * g->stride;
}

bool generator_next(struct generator *g, struct generator_message *message)
{
	if (g->taken == g->head_seen) {
		g->head_seen = atomic_load_explicit(&g->head, memory_order_acquire);
		if (g->taken == g->head_seen)
			return false;
	}
	uint64_t at = g->taken++;
	uint32_t place = (uint32_t)(at % CHUNK);
	uint32_t ahead = place + READ_AHEAD < CHUNK ? place + READ_AHEAD : CHUNK - 1;
	uint64_t words[2];

	if (unlikely(place == 0)) {
		g->reading = g->memory + g->order[(at / CHUNK) & g->order_mask] * g->chunk_bytes;
		for (uint32_t i = 0; i < READ_AHEAD; i++)
			__builtin_prefetch(payload_of(g, g->reading, i));
	}
	const uint8_t *data = payload_of(g, g->reading, place);

	__builtin_prefetch(payload_of(g, g->reading, ahead));
	memcpy(words, data, sizeof(words));
	message->number = words[0];
	message->stamp_ns = words[1];
	message->index = ((const uint32_t *)(const void *)g->reading)[place];
	message->data = (uint8_t *)(uintptr_t)data;
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
	if (count <= g->spec.ring / 4)
		return 0;
	g->taken = g->head_seen = head;
	generator_release(g);
	return count;
}

/* ---- life ---- */

static int take_memory(struct generator *g)
{
	size_t chunks = g->spec.ring / CHUNK + 1, places = 2;

	while (places < chunks)
		places *= 2;
	g->stride = (g->spec.len + 63) & ~(size_t)63;
	g->chunk_bytes = CHUNK * (sizeof(uint32_t) + g->stride);
	g->memory_bytes = chunks * g->chunk_bytes;
	g->memory = mmap(NULL, g->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	if (g->memory == MAP_FAILED) {
		g->memory = NULL;
		return -ENOMEM;
	}
	(void)madvise(g->memory, g->memory_bytes, MADV_HUGEPAGE); /* slower, not wrong */
	memset(g->memory, 0, g->memory_bytes);
	g->order = calloc(places, sizeof(*g->order));
	g->spare = calloc(chunks, sizeof(*g->spare));
	if (!g->order || !g->spare)
		return -ENOMEM;
	g->order_mask = (uint32_t)places - 1;
	while (g->spare_count < chunks) {
		g->spare[g->spare_count] = (uint32_t)(chunks - 1 - g->spare_count);
		g->spare_count++;
	}
	return 0;
}

static void give_memory(struct generator *g)
{
	if (g->memory)
		munmap(g->memory, g->memory_bytes);
	free(g->order);
	free(g->spare);
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
