/* link_none.h - what a link has that leads to no network */
#ifndef PYSHIM_LINK_NONE_H
#define PYSHIM_LINK_NONE_H

#include "pyshim/link.h"

/* Operations of struct link_ops: -EOPNOTSUPP, but a name that is always the same, and nothing to flush. */
int link_no_connect(struct link *link, const struct vly_addr *to, const struct vly_addr *from,
		    void *user, vly_conn *conn);
int link_no_name(struct link *link, vly_conn conn, struct vly_addr *local, struct vly_addr *peer);
int link_no_flush(struct link *link);
int link_no_watch(struct link *link, int fd, short mask, void *user, vly_conn *conn);
int link_no_timer_start(struct link *link, uint64_t delay_ns, void *user, vly_timer *timer);
int link_no_timer_cancel(struct link *link, vly_timer timer);
int link_no_fd(struct link *link);

#endif
