/* peer.c - peers that misbehave: plain kernel sockets, which know nothing of the engine */
#include "tests/contract/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

int peer_dial(const struct vly_addr *to)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(to->port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(&addr.sin_addr, to->ip4, 4);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr))) {
		close(fd);
		return -1;
	}
	return fd;
}

int peer_connect(const struct world *w)
{
	int fd = peer_dial(&w->addr);

	check_at_least(fd, 0);
	return fd;
}

int peer_link(struct world *w, vly_conn *conn)
{
	int fd;

	w->accepted = 0;
	fd = peer_connect(w);
	pump_until(w, w->accepted);
	*conn = w->accepted;
	return fd;
}

void peer_reset(int fd)
{
	struct linger linger = {.l_onoff = 1};

	check_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	close(fd);
}

void peer_send(int fd, const void *data, size_t len)
{
	check_eq(send(fd, data, len, MSG_NOSIGNAL), len);
}

int peer_take(int fd, void *data, size_t len)
{
	ssize_t got = recv(fd, data, len, MSG_DONTWAIT);

	return got < 0 ? -errno : (int)got;
}

void peer_expect(struct world *w, int fd, void *data, size_t len)
{
	uint8_t *bytes = data;

	while (len) {
		int got = -EAGAIN;

		pump_until(w, (got = peer_take(fd, bytes, len)) != -EAGAIN);
		cr_assert(got > 0, "the peer received %d", got);
		bytes += got;
		len -= (size_t)got;
	}
}

void peer_expect_end(struct world *w, int fd)
{
	uint8_t byte;
	int got = -EAGAIN;

	pump_until(w, (got = peer_take(fd, &byte, 1)) != -EAGAIN);
	check_eq(got, 0);
}

void peer_world(struct world *w)
{
	struct vly_config config;

	world_config(&config, 1);
	world_open_config(w, &config);
	world_listen(w, SERVER, NULL, NULL);
}
