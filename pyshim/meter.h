/* meter.h - what a source offers and what its consumer takes, counted where another process can look */
#ifndef PYSHIM_METER_H
#define PYSHIM_METER_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

/*
 * A file that both map: whoever watches a consumer sees how far it is even while Python code blocks, and
 * after it died. Each counter has one writer and any number of readers, who need no order among them; so
 * all accesses are relaxed, but for `began_ns` and `done`, which publish what stands before them.
 */
#define METER_MAGIC UINT64_C(0x766f6c6c65790004) /* the last digits are the layout's number */
#define METER_SLICE_NS UINT64_C(10000000)
#define METER_SLICES 4096u /* 41 s; what comes later is counted in the last one */

/* Log-linear: values below 64 exactly, above 64 steps for every power of two (1.6%), up to 2^40. */
#define METER_SUB_BITS 6u
#define METER_COUNTS ((40u - METER_SUB_BITS + 1u) << METER_SUB_BITS)

typedef _Atomic uint64_t meter_count;

struct meter_histogram {
	meter_count counts[METER_COUNTS];
	meter_count max;
};

struct meter {
	/* written once, by whoever made the file */
	uint64_t magic;

	/* by the bench */
	alignas(128) meter_count released; /* 1: a generator that is held may begin */

	/* by the generator's thread (over a network: by the bench, windows alone) */
	alignas(128)
		meter_count asked_ns; /* when the consumer looked for a first message; 0: not yet */
	meter_count began_ns;         /* of the schedule, release; 0: not yet */
	meter_count window_begin_ns, window_end_ns;
	meter_count offered;            /* messages that were due, whatever became of them */
	meter_count dropped;            /* of them: the ring was full */
	meter_count done;               /* release: the schedule is over */
	meter_count generator_taken_ns; /* of its CPU in the window, by others */
	meter_count put,
		putting_ns; /* messages of the window that found room, and what it took to write them */
	struct meter_histogram
		late; /* how late the generator was itself, due messages of the window */
	meter_count offered_slices[METER_SLICES], dropped_slices[METER_SLICES];

	/* by the thread that polls the source */
	alignas(128) meter_count delivered;
	meter_count delivered_sum; /* of the messages' numbers */
	meter_count lost;          /* their connection was closed */
	meter_count replied;
	meter_count paused_ns; /* a connection that is not read held up what came behind it */

	/* by the thread that calls the consumer */
	alignas(128) meter_count consumed; /* messages whose callbacks have returned */
	meter_count consumed_bytes; /* behind a network one event may bring several messages */
	meter_count batches;
	meter_count callback_ns; /* between the polls */
	meter_count gil_wait_ns; /* after polls that let go of it */
	meter_count consumed_window, callback_window_ns;
	meter_count
		polls_only; /* 1: this thread never sleeps, so that it can tell what others took */
	meter_count consumer_taken_ns; /* of its CPU in the window */
	meter_count
		excluded; /* messages of the window that came while what was taken was made up for */
	meter_count looked_ns, cpu_ns; /* at the last look at both clocks; its own */
	meter_count disturbed;         /* 1: it is being made up for; its own */
	struct meter_histogram lag;    /* from a message's stamp to its turn; those of the window */
	struct meter_histogram batch;  /* messages of a batch */
	struct meter_histogram gil_wait; /* nanoseconds, of each poll that let go */
	meter_count consumed_slices[METER_SLICES], lag_max_slices[METER_SLICES];
};

static inline uint64_t meter_read(const meter_count *count)
{
	return atomic_load_explicit(count, memory_order_relaxed);
}

/* One writer: no read-modify-write. */
static inline void meter_add(meter_count *count, uint64_t n)
{
	atomic_store_explicit(count, meter_read(count) + n, memory_order_relaxed);
}

static inline void meter_max(meter_count *count, uint64_t value)
{
	if (value > meter_read(count))
		atomic_store_explicit(count, value, memory_order_relaxed);
}

static inline uint32_t meter_index(uint64_t value)
{
	unsigned top = 63u - (unsigned)__builtin_clzll(value | ((1u << METER_SUB_BITS) - 1));
	unsigned shift = top < METER_SUB_BITS ? 0 : top - METER_SUB_BITS;
	uint32_t index = (shift << METER_SUB_BITS) + (uint32_t)(value >> shift);

	return index < METER_COUNTS ? index : METER_COUNTS - 1;
}

/* The highest value that is counted with those of `index`. */
static inline uint64_t meter_value(uint32_t index)
{
	uint32_t shift = index >> METER_SUB_BITS;

	if (shift == 0)
		return index;
	shift--;
	return ((((uint64_t)index & ((1u << METER_SUB_BITS) - 1)) + (1u << METER_SUB_BITS) + 1)
		<< shift) -
	       1;
}

static inline void meter_record(struct meter_histogram *histogram, uint64_t value, uint64_t weight)
{
	meter_add(&histogram->counts[meter_index(value)], weight);
	meter_max(&histogram->max, value);
}

/* Slice of a time; of what was before the beginning, the first. */
static inline uint32_t meter_slice(const struct meter *meter, uint64_t ns)
{
	uint64_t began_ns = meter_read(&meter->began_ns);
	uint64_t slice = ns > began_ns ? (ns - began_ns) / METER_SLICE_NS : 0;

	return slice < METER_SLICES ? (uint32_t)slice : METER_SLICES - 1;
}

/* Maps the file, which has to be one. 0 or -errno; -EPROTO: it is not, or of another version. */
int meter_open(const char *path, struct meter **meter);
void meter_close(struct meter *meter);

/*
 * A batch of `count` events, whose callbacks ran from begin_ns to end_ns. A message's turn is taken to
 * come after its share of that time: two readings of the clock serve all, and those that wait behind
 * others in their batch are seen to wait.
 */
struct vly_event;
void meter_batch(struct meter *meter, const struct vly_event *events, int count, uint64_t begin_ns,
		 uint64_t end_ns);

/* CPU time of the calling thread. */
uint64_t meter_thread_cpu_ns(void);

/* After a poll that let go of the GIL: so long it took to get it back. */
static inline void meter_gil_wait(struct meter *meter, uint64_t wait_ns)
{
	meter_add(&meter->gil_wait_ns, wait_ns);
	meter_record(&meter->gil_wait, wait_ns, 1);
}

#endif
