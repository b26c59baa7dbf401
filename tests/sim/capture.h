/* capture.h - a pcap file of everything that was put on the simulated network */
#ifndef VLY_TESTS_SIM_CAPTURE_H
#define VLY_TESTS_SIM_CAPTURE_H

#include <stdint.h>
#include <stdio.h>

struct capture {
	FILE *file; /* NULL: nothing is written */
};

/* 0 or -errno. */
int capture_open(struct capture *capture, const char *path);

/* Each frame is on the disk before the next: a crash loses none. */
void capture_frame(struct capture *capture, uint64_t now_ns, const uint8_t *data, uint32_t len);

void capture_close(struct capture *capture);

#endif
