/* meter.c - what a source offers and what its consumer takes, counted where another process can look */
#include "pyshim/meter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "volley/volley.h"

#define SAMPLES 8      /* messages of a batch that stand for all */
#define LOOK_NS 50000  /* between two looks at the CPU clock */
#define TAKEN_NS 20000 /* an interrupt takes less */
#define CAUGHT_UP_NS                                                                               \
	30000 /* lag of the first message of a batch when nothing is left to make up for */

int meter_open(const char *path, struct meter **out)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat status;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &status) || status.st_size != sizeof(struct meter)) {
		close(fd);
		return -EPROTO;
	}
	struct meter *meter = mmap(NULL, sizeof(*meter), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int error = meter == MAP_FAILED ? -errno : 0;

	close(fd);
	if (!error && meter->magic != METER_MAGIC) {
		meter_close(meter);
		error = -EPROTO;
	}
	if (!error)
		*out = meter;
	return error;
}

void meter_close(struct meter *meter)
{
	if (meter)
		munmap(meter, sizeof(*meter));
}

static bool in_window(const struct meter *meter, uint64_t ns)
{
	return ns >= meter_read(&meter->window_begin_ns) && ns < meter_read(&meter->window_end_ns);
}

uint64_t meter_thread_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/*
 * Whether others had this CPU since the last batch, or what they took is still being made up for. A thread that
 * polls is always busy: time that it did not run was taken. Both clocks are read when a batch and the wait
 * for it took long, and now and then, as CPU time costs a system call.
 */
static bool is_disturbed(struct meter *meter, uint64_t now_ns, uint64_t first_lag_ns)
{
	uint64_t since_ns = now_ns - meter_read(&meter->looked_ns);

	if (!meter_read(&meter->polls_only))
		return false;
	if (since_ns > LOOK_NS) {
		uint64_t cpu_ns = meter_thread_cpu_ns();
		uint64_t ran_ns = cpu_ns - meter_read(&meter->cpu_ns);
		uint64_t taken_ns = since_ns > ran_ns ? since_ns - ran_ns : 0;
		bool first = meter_read(&meter->looked_ns) == 0;

		atomic_store_explicit(&meter->looked_ns, now_ns, memory_order_relaxed);
		atomic_store_explicit(&meter->cpu_ns, cpu_ns, memory_order_relaxed);
		if (first || taken_ns <= TAKEN_NS)
			taken_ns = 0;
		if (in_window(meter, now_ns))
			meter_add(&meter->consumer_taken_ns, taken_ns);
		/* most of it: what a callback took of a long time is its own, whoever took the rest */
		if (taken_ns && 2 * taken_ns >= since_ns - LOOK_NS) {
			atomic_store_explicit(&meter->disturbed, 1, memory_order_relaxed);
			return true;
		}
	}
	if (meter_read(&meter->disturbed) && first_lag_ns < CAUGHT_UP_NS)
		atomic_store_explicit(&meter->disturbed, 0, memory_order_relaxed);
	return meter_read(&meter->disturbed) != 0;
}

void meter_batch(struct meter *meter, const struct vly_event *events, int count, uint64_t begin_ns,
		 uint64_t end_ns)
{
	uint64_t took_ns = end_ns - begin_ns;
	uint64_t lag_max_ns = 0, oldest_ns = 0;
	uint64_t bytes = 0;
	uint32_t messages = 0, stride, left;

	for (int i = count; i-- > 0;) {
		bool data = events[i].kind == VLY_DATA;

		messages += data;
		bytes += data ? events[i].len : 0;
		oldest_ns = data ? events[i].stamp_ns : oldest_ns;
	}
	if (!messages)
		return;
	bool disturbed =
		is_disturbed(meter, end_ns, begin_ns > oldest_ns ? begin_ns - oldest_ns : 0);

	stride = (messages + SAMPLES - 1) / SAMPLES;
	left = messages;
	for (uint32_t i = 0, data = 0; i < (uint32_t)count; i++) {
		const struct vly_event *event = &events[i];

		if (event->kind != VLY_DATA || data++ % stride)
			continue;
		uint32_t weight = left < stride ? left : stride;
		uint64_t turn_ns = begin_ns + took_ns * i / (uint32_t)count;
		uint64_t lag_ns = turn_ns > event->stamp_ns ? turn_ns - event->stamp_ns : 0;

		left -= weight;
		lag_max_ns = lag_ns > lag_max_ns ? lag_ns : lag_max_ns;
		if (in_window(meter, event->stamp_ns) && disturbed)
			meter_add(&meter->excluded, weight);
		else if (in_window(meter, event->stamp_ns))
			meter_record(&meter->lag, lag_ns, weight);
	}
	meter_add(&meter->consumed, messages);
	meter_add(&meter->consumed_bytes, bytes);
	meter_add(&meter->batches, 1);
	meter_add(&meter->callback_ns, took_ns);
	if (in_window(meter, end_ns)) {
		meter_add(&meter->consumed_window, messages);
		meter_add(&meter->callback_window_ns, took_ns);
		meter_record(&meter->batch, messages, 1);
	}
	uint32_t slice = meter_slice(meter, end_ns);

	meter_add(&meter->consumed_slices[slice], messages);
	meter_max(&meter->lag_max_slices[slice], lag_max_ns);
}
