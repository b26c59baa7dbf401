/* link.c - the direct link: the core is polled by the thread that runs Python */
#include "pyshim/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pyshim/engine.h"

static int direct_poll(struct link *link, struct vly_event **events, int64_t timeout_ns)
{
	return vly_poll(link->core, events, timeout_ns);
}

static int direct_listen(struct link *link, const struct vly_addr *addr,
			 const struct vly_listen_opts *opts, void *user, vly_conn *conn)
{
	return vly_listen(link->core, addr, opts, user, conn);
}

static int direct_unlisten(struct link *link, vly_conn conn)
{
	return vly_unlisten(link->core, conn);
}

static int direct_connect(struct link *link, const struct vly_addr *to, const struct vly_addr *from,
			  void *user, vly_conn *conn)
{
	return vly_connect(link->core, to, from, user, conn);
}

static int direct_set_user(struct link *link, vly_conn conn, void *user)
{
	return vly_set_user(link->core, conn, user);
}

static int direct_name(struct link *link, vly_conn conn, struct vly_addr *local,
		       struct vly_addr *peer)
{
	return vly_name(link->core, conn, local, peer);
}

static int direct_send(struct link *link, vly_conn conn, const void *data, uint32_t len)
{
	return vly_send(link->core, conn, data, len);
}

static int direct_send_owned(struct link *link, vly_conn conn, const void *data, uint32_t len,
			     void *cookie)
{
	return vly_send_owned(link->core, conn, data, len, cookie);
}

static int direct_flush(struct link *link)
{
	return vly_flush(link->core);
}

static int direct_shutdown(struct link *link, vly_conn conn)
{
	return vly_shutdown(link->core, conn);
}

static int direct_close_conn(struct link *link, vly_conn conn)
{
	return vly_close(link->core, conn);
}

static int direct_abort(struct link *link, vly_conn conn)
{
	return vly_abort(link->core, conn);
}

static int direct_pause(struct link *link, vly_conn conn)
{
	return vly_pause(link->core, conn);
}

static int direct_resume(struct link *link, vly_conn conn)
{
	return vly_resume(link->core, conn);
}

static int direct_watch(struct link *link, int fd, short mask, void *user, vly_conn *conn)
{
	return vly_watch_fd(link->core, fd, mask, user, conn);
}

static int direct_timer_start(struct link *link, uint64_t delay_ns, void *user, vly_timer *timer)
{
	return vly_timer_start(link->core, delay_ns, user, timer);
}

static int direct_timer_cancel(struct link *link, vly_timer timer)
{
	return vly_timer_cancel(link->core, timer);
}

static int direct_fd(struct link *link)
{
	return vly_core_fd(link->core);
}

static void direct_wake(struct link *link)
{
	vly_wake(link->engine, 0);
}

static int direct_stats(struct link *link, struct vly_stats *stats, struct link_stats *more)
{
	*more = (struct link_stats){0};
	return vly_stats(link->engine, 0, stats);
}

static void direct_close(struct link *link)
{
	vly_core_close(link->core);
	vly_engine_close(link->engine);
	free(link);
}

static const struct link_ops direct_ops = {
	.poll = direct_poll,
	.listen = direct_listen,
	.unlisten = direct_unlisten,
	.connect = direct_connect,
	.set_user = direct_set_user,
	.name = direct_name,
	.send = direct_send,
	.send_owned = direct_send_owned,
	.flush = direct_flush,
	.shutdown = direct_shutdown,
	.close_conn = direct_close_conn,
	.abort = direct_abort,
	.pause = direct_pause,
	.resume = direct_resume,
	.watch = direct_watch,
	.timer_start = direct_timer_start,
	.timer_cancel = direct_timer_cancel,
	.fd = direct_fd,
	.wake = direct_wake,
	.stats = direct_stats,
	.close = direct_close,
};

int link_open_direct(const struct vly_config *config, struct link **out)
{
	struct link *link = calloc(1, sizeof(*link));
	int error;

	if (!link)
		return -ENOMEM;
	link->ops = &direct_ops;
	error = vly_engine_open(config, &link->engine);
	if (error)
		goto fail;
	error = vly_core_open(link->engine, 0, &link->core);
	if (error)
		goto fail_engine;
	*out = link;
	return 0;
fail_engine:
	vly_engine_close(link->engine);
fail:
	free(link);
	return error;
}

int link_open(const struct engine_options *options, char *why, size_t why_bytes, struct link **link)
{
	static const char prefix[] = "source:";

	if (strncmp(options->nic, prefix, sizeof(prefix) - 1) == 0)
		return link_open_source(options->nic + sizeof(prefix) - 1, &options->config, why,
					why_bytes, link);
	return link_open_direct(&options->config, link);
}
