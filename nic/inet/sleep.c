/* sleep.c - waiting of a core on frames, and watched descriptors */
#include "nic/inet/sleep.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "nic/inet/tcp.h"
#include "nic/inet/udp.h"

#define EDGES_MAX 64

/* Marks of what is no connection: generation 0 makes them unlike any handle. */
enum {
	MARK_WAKE = 1,
	MARK_TIMER = 2,
	MARK_WIRE = 3,
};

static int add(struct vly_inet *inet, int fd, uint32_t edges, uint64_t mark)
{
	struct epoll_event edge = {.events = edges, .data.u64 = mark};

	return epoll_ctl(inet->poll_fd, EPOLL_CTL_ADD, fd, &edge) ? -errno : 0;
}

int vly_inet_sleep_open(struct vly_inet *inet)
{
	int wire_fd = inet->wire->ops->fd(inet->wire);

	inet->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (inet->poll_fd < 0)
		return -errno;
	/* never read: each write is an edge */
	int error = add(inet, inet->nic.env->wake_fd, EPOLLIN | EPOLLET, MARK_WAKE);

	if (!error && wire_fd >= 0)
		error = add(inet, wire_fd, EPOLLIN, MARK_WIRE);
	if (error)
		close(inet->poll_fd);
	return error;
}

void vly_inet_sleep_close(struct vly_inet *inet)
{
	close(inet->poll_fd);
}

static void ready(struct vly_inet *inet, const struct epoll_event *edge)
{
	struct vly_env *env = inet->nic.env;
	struct vly_conn_head *head = vly_conn_find(&env->conns, edge->data.u64);

	/* a quarter of the batch at least is for frames */
	if (head && head->type == VLY_WATCH && head->state == VLY_OPENED &&
	    !(head->flags & VLY_F_PAUSED) && env->batch.count < env->batch.max - env->batch.max / 8)
		vly_batch_add_conn(&env->batch, head, VLY_READY)->status = (int32_t)edge->events;
}

static void wait(struct vly_inet *inet, int64_t timeout_ns)
{
	struct epoll_event edges[EDGES_MAX];
	struct timespec timeout = {.tv_sec = timeout_ns / 1000000000,
				   .tv_nsec = timeout_ns % 1000000000};
	long count = syscall(SYS_epoll_pwait2, inet->poll_fd, edges, EDGES_MAX,
			     timeout_ns < 0 ? NULL : &timeout, NULL, 0);

	for (long i = 0; i < count; i++) {
		if (edges[i].data.u64 == MARK_TIMER)
			inet->nic.env->timer_rang = true;
		else if (edges[i].data.u64 > MARK_WIRE)
			ready(inet, &edges[i]);
	}
}

void vly_inet_look(struct vly_inet *inet)
{
	/* embedded, and nothing to hand out: the caller's loop is about to sleep, and must not find old edges */
	bool must = inet->embedded && !inet->nic.env->batch.count;

	if (!must && (!inet->watched || inet->now_ns - inet->looked_ns < VLY_INET_LOOK_NS))
		return;
	inet->looked_ns = inet->now_ns;
	wait(inet, 0);
}

/* When something happens without an arrival. */
static uint64_t next_ns(const struct vly_inet *inet)
{
	const struct vly_wire_ops *ops = inet->wire->ops;
	uint64_t wire_ns = ops->next_ns ? ops->next_ns(inet->wire) : UINT64_MAX;

	return VLY_MIN(VLY_MIN(inet->hops.next_ns, inet->tcp->minis_ns), wire_ns);
}

bool vly_inet_arm(struct vly_inet *inet)
{
	const struct vly_tcp_core *tcp = inet->tcp;
	bool tx_wanted = tcp->tx_head != VLY_NO_SLOT || tcp->minis_blocked || inet->hops.blocked;

	return inet->wire->ops->arm(inet->wire, inet->now_ns, tx_wanted);
}

void vly_inet_sleep(struct vly_inet *inet, int64_t timeout_ns)
{
	uint64_t due_ns = next_ns(inet);

	if (due_ns <= inet->now_ns)
		return;
	if (due_ns != UINT64_MAX &&
	    (timeout_ns < 0 || due_ns - inet->now_ns < (uint64_t)timeout_ns))
		timeout_ns = (int64_t)(due_ns - inet->now_ns);
	if (inet->wire->ops->fd(inet->wire) < 0) {
		vly_inet_look(inet); /* nobody would wake us */
		return;
	}
	if (!vly_inet_arm(inet)) {
		vly_inet_look(inet);
		return;
	}
	wait(inet, timeout_ns);
	inet->wire->ops->disarm(inet->wire);
}

int vly_inet_sleep_fd(struct vly_inet *inet)
{
	int timer_fd = inet->nic.env->timer_fd;

	if (!inet->embedded && timer_fd >= 0) {
		int error = add(inet, timer_fd, EPOLLIN | EPOLLET, MARK_TIMER);

		if (error)
			return error;
		inet->embedded = true;
	}
	return inet->poll_fd;
}

void vly_inet_embedded_begin(struct vly_inet *inet)
{
	if (inet->armed)
		inet->wire->ops->disarm(inet->wire);
	inet->armed = inet->refused = false;
}

void vly_inet_embedded_end(struct vly_inet *inet)
{
	uint64_t due_ns = next_ns(inet);

	if (due_ns != UINT64_MAX)
		vly_inet_watch(inet, due_ns);
	inet->armed = vly_inet_arm(inet);
	/* without a descriptor nothing ever arms: then the outer loop has its own ways */
	inet->refused = !inet->armed && inet->wire->ops->fd(inet->wire) >= 0;
}

int vly_inet_watch_fd(struct vly_inet *inet, struct vly_conn_head *head, int fd, short poll_events)
{
	int error = add(inet, fd, (uint16_t)poll_events, head->handle);

	if (error)
		return error;
	vly_tcp_of(head)->side = (uint32_t)fd;
	inet->watched++;
	inet->looked_ns = 0;
	return 0;
}

void vly_inet_unwatch(struct vly_inet *inet, struct vly_conn_head *head, int status)
{
	epoll_ctl(inet->poll_fd, EPOLL_CTL_DEL, (int)vly_tcp_of(head)->side, NULL);
	inet->watched--;
	vly_env_dead(inet->nic.env, head, status);
}
