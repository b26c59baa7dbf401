/* bulk.c - one client that sends as fast as it is read, beside others: what a flood does to them */
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* bulk PORT SECONDS: to an echo server on 127.0.0.1; what comes back is dropped. */
int main(int argc, char **argv)
{
	static uint8_t data[65536];
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	uint64_t sent = 0, back = 0;

	if (argc != 3) {
		fprintf(stderr, "usage: bulk PORT SECONDS\n");
		return 2;
	}
	to.sin_port = htons((uint16_t)atoi(argv[1]));
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	double began_s = now_s(), end_s = began_s + atof(argv[2]);

	/* The server may be about to start. */
	while (connect(fd, (struct sockaddr *)&to, sizeof(to))) {
		if (now_s() > end_s) {
			perror("bulk: connect");
			return 1;
		}
		close(fd);
		usleep(20000);
		fd = socket(AF_INET, SOCK_STREAM, 0);
	}
	began_s = now_s();
	while (now_s() < end_s) {
		struct pollfd wait = {.fd = fd, .events = POLLIN | POLLOUT};
		ssize_t done;

		if (poll(&wait, 1, 1000) <= 0)
			continue;
		done = wait.revents & POLLOUT
			       ? send(fd, data, sizeof(data), MSG_DONTWAIT | MSG_NOSIGNAL)
			       : 0;
		sent += done > 0 ? (uint64_t)done : 0;
		done = wait.revents & POLLIN ? recv(fd, data, sizeof(data), MSG_DONTWAIT) : -1;
		if (done == 0)
			break;
		back += done > 0 ? (uint64_t)done : 0;
	}
	double seconds = now_s() - began_s;

	printf("bulk: %.1f MB/s sent, %.1f MB/s back, %.1f s\n", (double)sent / seconds / 1e6,
	       (double)back / seconds / 1e6, seconds);
	close(fd);
	return 0;
}
