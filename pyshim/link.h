/* link.h - how the Python side reaches its core: directly, over a thread, or a source without a network */
#ifndef PYSHIM_LINK_H
#define PYSHIM_LINK_H

#include "volley/volley.h"

/*
 * One table per way. All calls come from the Python side's one thread; poll alone may run without the
 * GIL, nothing here needs it. Errors are those of the vly_ functions of the same name.
 */
struct link {
	const struct link_ops *ops;
	struct vly_engine *engine; /* NULL: a source */
	struct vly_core *core;     /* direct alone, else NULL: hot paths call vly_send themselves */
};

/* Counters of a link that are not the engine's. */
struct link_stats {
	uint64_t dropped, paused_ns, pending_bytes;
	uint64_t source_offered, source_sum, source_replies, source_reply_bytes, source_backlog;
};

struct link_ops {
	int (*poll)(struct link *link, struct vly_event **events, int64_t timeout_ns);
	int (*listen)(struct link *link, const struct vly_addr *addr,
		      const struct vly_listen_opts *opts, void *user, vly_conn *conn);
	int (*unlisten)(struct link *link, vly_conn conn);
	int (*connect)(struct link *link, const struct vly_addr *to, const struct vly_addr *from,
		       void *user, vly_conn *conn);
	int (*set_user)(struct link *link, vly_conn conn, void *user);
	int (*name)(struct link *link, vly_conn conn, struct vly_addr *local,
		    struct vly_addr *peer);
	int (*send)(struct link *link, vly_conn conn, const void *data, uint32_t len);
	int (*send_owned)(struct link *link, vly_conn conn, const void *data, uint32_t len,
			  void *cookie);
	int (*flush)(struct link *link);
	int (*shutdown)(struct link *link, vly_conn conn);
	int (*close_conn)(struct link *link, vly_conn conn);
	int (*abort)(struct link *link, vly_conn conn);
	int (*pause)(struct link *link, vly_conn conn);
	int (*resume)(struct link *link, vly_conn conn);
	int (*watch)(struct link *link, int fd, short mask, void *user, vly_conn *conn);
	int (*timer_start)(struct link *link, uint64_t delay_ns, void *user, vly_timer *timer);
	int (*timer_cancel)(struct link *link, vly_timer timer);
	int (*fd)(struct link *link);
	void (*wake)(struct link *link); /* any thread, signal handlers */
	int (*stats)(struct link *link, struct vly_stats *stats, struct link_stats *more);
	void (*close)(struct link *link); /* frees it; owned memory is the caller's again */
};

struct engine_options;

/*
 * Opens what the options say on the calling thread: the engine's core, or for a nic "source:..." a
 * generator without engine and network. 0 and the link, or -errno; for -EINVAL `why` may tell more.
 */
int link_open(const struct engine_options *options, char *why, size_t why_bytes,
	      struct link **link);

/* The parts of it. `spec` follows "source:". */
int link_open_direct(const struct vly_config *config, struct link **link);
int link_open_source(const char *spec, const struct vly_config *config, char *why, size_t why_bytes,
		     struct link **link);

/* The same behind a thread of its own, which polls; the options live as long as the link. */
int link_open_thread(const struct engine_options *options, char *why, size_t why_bytes,
		     struct link **link);

#endif
