/* pingpong_fail.c - a connection that went wrong is counted once, and the first one described */
#include "bench/pingpong_fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RETRY_NS UINT64_C(10000000)

void pingpong_fail(struct pingpong_client *client, struct ping *ping, uint64_t *counter, int err,
		   const char *format, ...)
{
	struct pingpong_errors *errors = &client->figures.errors;

	client->connecting -= ping->state == PING_CONNECTING;
	client->closing -= ping->state == PING_CLOSING;
	ping->state = PING_FAILED;
	client->figures.outstanding -= ping->sent - ping->received;
	(*counter)++;
	if (!errors->first_err) {
		va_list args;
		int n;

		errors->first_err = err;
		n = snprintf(errors->first, sizeof(errors->first), "connection %u ",
			     id_of(client, ping));
		va_start(args, format);
		vsnprintf(errors->first + n, sizeof(errors->first) - (size_t)n, format, args);
		va_end(args);
	}
	vly_abort(client->core, ping->conn);
}

static const char *connect_hint(int err)
{
	switch (err) {
	case -EADDRNOTAVAIL:
		return " (local ports exhausted, or no address of this machine: --source-ip A-B spreads connections, "
		       "net.ipv4.ip_local_port_range widens the range)";
	case -EMFILE:
		return " (raise the descriptor limit: ulimit -n)";
	case -ECONNREFUSED:
		return " (nothing listens there)";
	default:
		return "";
	}
}

void pingpong_connect_failed(struct pingpong_client *client, struct ping *ping, int err)
{
	char target[VLY_ADDR_TEXT_MAX];

	/* a full backlog: Unix sockets say EAGAIN, a server with tcp_abort_on_overflow resets */
	if (err == -EAGAIN || err == -ECONNRESET) {
		client->connecting -= ping->state == PING_CONNECTING;
		ping->state = PING_IDLE;
		client->todo[client->todo_count++] = (uint32_t)(ping - client->pings);
		client->pause_until_ns = vly_now_ns() + RETRY_NS;
		client->figures.retries++;
		return;
	}
	pingpong_fail(client, ping, &client->figures.errors.connect, err,
		      "could not connect to %s: %s%s",
		      vly_addr_format(&client->params.target, target, sizeof(target)),
		      strerror(-err), connect_hint(err));
}
