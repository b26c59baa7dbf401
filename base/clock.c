/* clock.c - nanoseconds and cycles, read without a system call */
#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/compiler.h"
#include "base/log.h"

#define NS_PER_S 1000000000u
#define BURST 16u         /* readings per point; the narrowest counts */
#define PAUSE_NS 6000000L /* between the three points: 12 ms in all */
#define ATTEMPTS 4u       /* each with twice the pause, for a slow clock_gettime() */
#define ERROR_PPM_MAX 50u
#define HZ_MIN UINT64_C(10000000)
#define HZ_MAX UINT64_C(100000000000)

struct vly_clock_state vly_clock_state;

static pthread_once_t init_once = PTHREAD_ONCE_INIT;

uint64_t vly_clock_gettime_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

int vly_clock_fit(const struct vly_clock_reading *first, const struct vly_clock_reading *last,
		  struct vly_clock_scale *scale)
{
	unsigned __int128 hz, mult;
	uint64_t cycles, ns;

	if (last->cycles <= first->cycles || last->ns <= first->ns)
		return -EINVAL;
	cycles = last->cycles - first->cycles;
	ns = last->ns - first->ns;
	hz = ((unsigned __int128)cycles * NS_PER_S + ns / 2) / ns;
	if (hz < HZ_MIN || hz > HZ_MAX)
		return -ERANGE;
	/* at most 100 ns per cycle times 2^32, thanks to HZ_MIN: fits */
	mult = (((unsigned __int128)ns << 32) + cycles / 2) / cycles;
	*scale = (struct vly_clock_scale){
		.base_cycles = first->cycles,
		.base_ns = first->ns,
		.mult = (uint64_t)mult,
		.hz = (uint64_t)hz,
	};
	return 0;
}

uint32_t vly_clock_error_ppm(const struct vly_clock_scale *scale,
			     const struct vly_clock_reading *reading)
{
	unsigned __int128 ppm;
	uint64_t expected_ns, off_ns, distance_ns, width_ns;

	if (reading->cycles <= scale->base_cycles || reading->ns <= scale->base_ns)
		return UINT32_MAX;
	expected_ns = vly_clock_scale_ns(scale, reading->cycles);
	off_ns = expected_ns > reading->ns ? expected_ns - reading->ns : reading->ns - expected_ns;
	width_ns = (uint64_t)(((unsigned __int128)reading->width_cycles * scale->mult) >> 32);
	off_ns -= VLY_MIN(off_ns, width_ns);
	distance_ns = reading->ns - scale->base_ns;
	ppm = ((unsigned __int128)off_ns * 1000000u + distance_ns - 1) / distance_ns;
	return ppm > UINT32_MAX ? UINT32_MAX : (uint32_t)ppm;
}

const struct vly_clock_reading *vly_clock_narrowest(const struct vly_clock_reading *readings,
						    unsigned int count)
{
	const struct vly_clock_reading *best = readings;

	for (unsigned int i = 1; i < count; i++) {
		if (readings[i].width_cycles < best->width_cycles)
			best = &readings[i];
	}
	return best;
}

/*
 * One point of the calibration: both clocks at one moment, as well as a preemptible thread can
 * tell.
 */
static struct vly_clock_reading point_read(void)
{
	struct vly_clock_reading readings[BURST];

	for (unsigned int i = 0; i < BURST; i++) {
		uint64_t before = vly_arch_tsc_ordered();
		uint64_t ns = vly_clock_gettime_ns();
		uint64_t width_cycles = vly_arch_tsc_ordered() - before;

		readings[i] = (struct vly_clock_reading){
			.cycles = before + width_cycles / 2,
			.ns = ns,
			.width_cycles = width_cycles,
		};
	}
	return *vly_clock_narrowest(readings, BURST);
}

static void pause_ns(long ns)
{
	struct timespec left = {.tv_nsec = ns};

	while (nanosleep(&left, &left) != 0 && errno == EINTR)
		;
}

/* How much of the distance between two points their widths may hide, in ppm. */
static uint64_t doubt_ppm(const struct vly_clock_reading *first,
			  const struct vly_clock_reading *last)
{
	uint64_t width_cycles = (first->width_cycles + last->width_cycles) / 2;

	return (uint64_t)((unsigned __int128)width_cycles * 1000000u /
			  (last->cycles - first->cycles));
}

/* 0 and a scale that three points agree on; -EAGAIN: they do not. */
static int calibrate(struct vly_clock_scale *scale, long step_ns)
{
	struct vly_clock_reading first, middle, last;

	first = point_read();
	pause_ns(step_ns);
	middle = point_read();
	pause_ns(step_ns);
	last = point_read();
	if (vly_clock_fit(&first, &last, scale) != 0)
		return -EAGAIN;
	if (doubt_ppm(&first, &last) > ERROR_PPM_MAX ||
	    vly_clock_error_ppm(scale, &middle) > ERROR_PPM_MAX)
		return -EAGAIN;
	return 0;
}

/*
 * The kernel strikes a counter that it found unsteady, or different between CPUs, from this list.
 * Where the list cannot be read (some containers), CPUID's promise has to do.
 */
static bool kernel_trusts_tsc(void)
{
	char line[256] = "";
	FILE *f = fopen("/sys/devices/system/clocksource/clocksource0/available_clocksource", "re");
	char *save, *word;

	if (!f)
		return true;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);
	for (word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		if (strcmp(word, "tsc") == 0)
			return true;
	}
	return false;
}

static bool tsc_wanted(void)
{
	const char *choice = getenv("VOLLEY_CLOCK");

	if (!choice || strcmp(choice, "tsc") == 0 || *choice == '\0')
		return true;
	if (strcmp(choice, "gettime") != 0) {
		vly_log(VLY_LOG_WARN, "VOLLEY_CLOCK=%s is neither tsc nor gettime", choice);
		return true;
	}
	return false;
}

static void init_body(void)
{
	struct vly_clock_scale scale;

	if (!tsc_wanted())
		return;
	if (!vly_arch_tsc_invariant() || !kernel_trusts_tsc()) {
		vly_log(VLY_LOG_INFO, "clock: no invariant counter, using clock_gettime");
		return;
	}
	for (unsigned int i = 0; i < ATTEMPTS; i++) {
		if (calibrate(&scale, PAUSE_NS << i) == 0) {
			vly_clock_state.scale = scale;
			/* pairs with the acquire in vly_clock_is_tsc() */
			atomic_store_explicit(&vly_clock_state.is_tsc, true, memory_order_release);
			vly_log(VLY_LOG_DEBUG, "clock: time stamp counter at %llu Hz",
				(unsigned long long)scale.hz);
			return;
		}
	}
	vly_log(VLY_LOG_INFO, "clock: the time stamp counter is unsteady, using clock_gettime");
}

void vly_clock_init(void)
{
	pthread_once(&init_once, init_body);
}

void vly_clock_freeze(uint64_t ns)
{
	vly_clock_init(); /* else the first engine to open would set it going */
	/* a line without slope */
	vly_clock_state.scale = (struct vly_clock_scale){.base_ns = ns, .hz = NS_PER_S};
	atomic_store_explicit(&vly_clock_state.is_tsc, true, memory_order_release);
}

uint64_t vly_clock_cycles_hz(void)
{
	return vly_clock_is_tsc() ? vly_clock_state.scale.hz : NS_PER_S;
}
