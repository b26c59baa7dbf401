/* link_none.c - what a link has that leads to no network */
#include "pyshim/link_none.h"

#include <errno.h>

int link_no_connect(struct link *link, const struct vly_addr *to, const struct vly_addr *from,
		    void *user, vly_conn *conn)
{
	(void)link;
	(void)to;
	(void)from;
	(void)user;
	(void)conn;
	return -EOPNOTSUPP;
}

int link_no_name(struct link *link, vly_conn conn, struct vly_addr *local, struct vly_addr *peer)
{
	(void)link;
	(void)conn;
	if (local)
		*local = (struct vly_addr){.family = VLY_IP4, .port = 1};
	if (peer)
		*peer = (struct vly_addr){.family = VLY_IP4, .port = 1};
	return 0;
}

int link_no_flush(struct link *link)
{
	(void)link;
	return 0;
}

int link_no_watch(struct link *link, int fd, short mask, void *user, vly_conn *conn)
{
	(void)link;
	(void)fd;
	(void)mask;
	(void)user;
	(void)conn;
	return -EOPNOTSUPP;
}

int link_no_timer_start(struct link *link, uint64_t delay_ns, void *user, vly_timer *timer)
{
	(void)link;
	(void)delay_ns;
	(void)user;
	(void)timer;
	return -EOPNOTSUPP;
}

int link_no_timer_cancel(struct link *link, vly_timer timer)
{
	(void)link;
	(void)timer;
	return -EOPNOTSUPP;
}

int link_no_fd(struct link *link)
{
	(void)link;
	return -EOPNOTSUPP;
}
