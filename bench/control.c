/* control.c - messages between the bench and its processes: a JSON object per line */
#include "bench/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "volley/core.h"

#define READ_BYTES 65536

void control_init(struct control *control, int fd)
{
	struct timeval patience = {.tv_sec = 5};

	memset(control, 0, sizeof(*control));
	control->fd = fd;
	/* Fails only on what is not a socket, which the first send reports. */
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
}

void control_fini(struct control *control)
{
	if (control->fd >= 0)
		close(control->fd);
	free(control->in);
	memset(control, 0, sizeof(*control));
	control->fd = -1;
}

int control_send(struct control *control, json_t *message)
{
	char *line = message ? json_dumps(message, JSON_COMPACT) : NULL;
	size_t sent = 0;
	int err = 0;

	json_decref(message);
	if (!line)
		return -ENOMEM;
	size_t len = strlen(line);
	line[len++] = '\n'; /* in place of the terminator: from here on it is no string */
	while (sent < len) {
		ssize_t put = send(control->fd, line + sent, len - sent, MSG_NOSIGNAL);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0) {
			err = errno == ECONNRESET || errno == EBADF ? -EPIPE : -errno;
			break;
		}
		sent += (size_t)put;
	}
	free(line);
	return err;
}

/* Takes a whole line out of the buffer. 1, 0 if there is none yet, -EPROTO. */
static int take_line(struct control *control, json_t **message)
{
	char *end = control->in_len ? memchr(control->in, '\n', control->in_len) : NULL;

	if (!end)
		return control->in_len >= CONTROL_LINE_MAX ? -EPROTO : 0;
	size_t len = (size_t)(end - control->in);
	*message = json_loadb(control->in, len, JSON_REJECT_DUPLICATES, NULL);
	control->in_len -= len + 1;
	memmove(control->in, end + 1, control->in_len);
	if (!*message)
		return -EPROTO;
	if (!json_is_object(*message)) {
		json_decref(*message);
		*message = NULL;
		return -EPROTO;
	}
	return 1;
}

/* Reads what there is: bytes, or -EPIPE at the end, or -errno. */
static int fill(struct control *control)
{
	if (control->in_size - control->in_len < READ_BYTES) {
		size_t size = control->in_size * 2 + READ_BYTES;
		char *in = realloc(control->in, size);
		if (!in)
			return -ENOMEM;
		control->in = in;
		control->in_size = size;
	}
	ssize_t got = recv(control->fd, control->in + control->in_len,
			   control->in_size - control->in_len, MSG_DONTWAIT);
	if (got == 0)
		return -EPIPE;
	if (got < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	control->in_len += (size_t)got;
	return (int)got;
}

int control_receive(struct control *control, json_t **message, int64_t timeout_ns)
{
	uint64_t deadline = vly_now_ns() + (timeout_ns > 0 ? (uint64_t)timeout_ns : 0);

	*message = NULL;
	if (control->fd < 0)
		return -EPIPE;
	for (;;) {
		int taken = take_line(control, message);
		if (taken != 0)
			return taken;
		struct pollfd ready = {.fd = control->fd, .events = POLLIN};
		uint64_t now = vly_now_ns();
		uint64_t left = deadline > now ? deadline - now : 0;
		int wait_ms = timeout_ns < 0 ? -1 : (int)((left + 999999) / 1000000);
		int count = poll(&ready, 1, wait_ms);
		if (count < 0)
			return -errno;
		if (count == 0)
			return 0;
		int got = fill(control);
		if (got < 0 && got != -EAGAIN && got != -EINTR)
			return got;
	}
}

int control_hello(struct control *control, const char *role, char *peer_role,
		  size_t peer_role_bytes, int64_t timeout_ns, char *why, size_t why_bytes)
{
	json_t *hello = NULL;

	int err = control_send(control,
			       json_pack("{s:s, s:s, s:i, s:s}", "type", "hello", "magic",
					 CONTROL_MAGIC, "version", CONTROL_VERSION, "role", role));
	int got = err ? err : control_receive(control, &hello, timeout_ns);
	if (got <= 0) {
		err = got == 0 ? -ETIMEDOUT : got;
		snprintf(why, why_bytes, "control handshake: %s",
			 err == -EPROTO ? "the peer does not speak " CONTROL_MAGIC
					: strerror(-err));
		return err;
	}
	const char *magic = control_text(hello, "magic", "");
	int64_t version = control_int(hello, "version", -1);
	if (strcmp(magic, CONTROL_MAGIC) != 0) {
		snprintf(why, why_bytes,
			 "control handshake: the peer says '%.40s' where %s is spoken", magic,
			 CONTROL_MAGIC);
		err = -EPROTO;
	} else if (version != CONTROL_VERSION) {
		snprintf(
			why, why_bytes,
			"control handshake: the peer speaks version %lld of the protocol, this volley version %d: use the same volley "
			"on both sides",
			(long long)version, CONTROL_VERSION);
		err = -EPROTO;
	} else if (peer_role) {
		snprintf(peer_role, peer_role_bytes, "%s", control_text(hello, "role", ""));
	}
	json_decref(hello);
	return err;
}

const char *control_type(const json_t *message)
{
	return control_text(message, "type", "");
}

int64_t control_int(const json_t *message, const char *key, int64_t fallback)
{
	const json_t *value = json_object_get(message, key);

	return json_is_integer(value) ? (int64_t)json_integer_value(value) : fallback;
}

double control_real(const json_t *message, const char *key, double fallback)
{
	const json_t *value = json_object_get(message, key);

	return json_is_number(value) ? json_number_value(value) : fallback;
}

const char *control_text(const json_t *message, const char *key, const char *fallback)
{
	const json_t *value = json_object_get(message, key);

	return json_is_string(value) ? json_string_value(value) : fallback;
}
