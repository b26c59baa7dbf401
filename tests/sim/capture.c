/* capture.c - a pcap file of everything that was put on the simulated network */
#include "tests/sim/capture.h"

#include <errno.h>

int capture_open(struct capture *capture, const char *path)
{
	/* Nanoseconds, version 2.4, no time zone, whole frames, Ethernet. */
	const uint32_t header[6] = {0xa1b23c4d, 4u << 16 | 2u, 0, 0, 65535, 1};

	capture->file = fopen(path, "wbe");
	if (!capture->file)
		return -errno;
	fwrite(header, sizeof(header), 1, capture->file);
	return 0;
}

void capture_frame(struct capture *capture, uint64_t now_ns, const uint8_t *data, uint32_t len)
{
	uint32_t header[4] = {(uint32_t)(now_ns / 1000000000u), (uint32_t)(now_ns % 1000000000u),
			      len, len};

	if (!capture->file)
		return;
	fwrite(header, sizeof(header), 1, capture->file);
	fwrite(data, len, 1, capture->file);
	fflush(capture->file);
}

void capture_close(struct capture *capture)
{
	if (capture->file)
		fclose(capture->file);
	capture->file = NULL;
}
