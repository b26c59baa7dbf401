/* states.c - which states of TCP were reached, and by which steps */
#include "tests/sim/states.h"

#include <stdlib.h>
#include <string.h>

#include "nic/inet/tcp.h"
#include "tests/sim/violation.h"

static const char *const names[STATES_COUNT] = {
	"CLOSED",     "SYN-SENT",   "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1",
	"FIN-WAIT-2", "CLOSE-WAIT", "CLOSING",      "LAST-ACK",    "TIME-WAIT",
};

static const uint8_t name_of[VLY_TCP_STATES] = {
	[VLY_TCP_CLOSED] = STATES_CLOSED,
	[VLY_TCP_SYN_SENT] = STATES_SYN_SENT,
	[VLY_TCP_SYN_RECEIVED] = STATES_SYN_RECEIVED,
	[VLY_TCP_ESTABLISHED] = STATES_ESTABLISHED,
	[VLY_TCP_FIN_WAIT_1] = STATES_FIN_WAIT_1,
	[VLY_TCP_FIN_WAIT_2] = STATES_FIN_WAIT_2,
	[VLY_TCP_CLOSE_WAIT] = STATES_CLOSE_WAIT,
	[VLY_TCP_CLOSING] = STATES_CLOSING,
	[VLY_TCP_LAST_ACK] = STATES_LAST_ACK,
};

void states_begin(struct states_last *last, const struct hosts *hosts, uint32_t conns_max)
{
	memset(last, 0, sizeof(*last));
	for (unsigned i = 0; i < hosts->count; i++) {
		last->was[i] = calloc(conns_max, sizeof(*last->was[i]));
		last->handle[i] = calloc(conns_max, sizeof(*last->handle[i]));
	}
}

void states_end(struct states_last *last)
{
	for (unsigned i = 0; i < NET_HOSTS; i++) {
		free(last->was[i]);
		free(last->handle[i]);
	}
}

/* What holds for every record at any time. */
static void check_record(const struct vly_inet *inet, const struct vly_tcp *tcp, unsigned host)
{
	uint32_t flight = tcp->snd_nxt - tcp->snd_una;
	uint32_t fin = tcp->head.flags & VLY_F_FIN_SENT ? 1 : 0;

	must(flight <=
		     tcp->head.tx_bytes + fin +
			     (tcp->state == VLY_TCP_SYN_SENT || tcp->state == VLY_TCP_SYN_RECEIVED),
	     "host %u, port %u: %u in flight, but only %u are queued", host, ntohs(tcp->lport),
	     flight, tcp->head.tx_bytes);
	must(tcp->mss >= VLY_TCP_MSS_MIN - 12 || tcp->state == VLY_TCP_SYN_SENT, "host %u: MSS %u",
	     host, tcp->mss);
	must(tcp->cwnd >= tcp->mss || tcp->state <= VLY_TCP_SYN_RECEIVED,
	     "host %u: congestion window %u below a segment of %u", host, tcp->cwnd, tcp->mss);
	/* Whatever is in flight is watched: else its loss would never be noticed. */
	must(!flight || tcp->state == VLY_TCP_CLOSED || tcp->bits & VLY_TCP_B_TX_LISTED ||
		     vly_wheel_armed(&tcp->head.alarm.node),
	     "host %u, port %u, state %s: %u in flight and no timer", host, ntohs(tcp->lport),
	     names[name_of[tcp->state]], flight);
	(void)inet;
}

void states_look(struct states *states, struct states_last *last, const struct hosts *hosts,
		 unsigned host)
{
	struct vly_core *core = hosts->core[host];
	struct vly_inet *inet = vly_inet_of(core->nic);
	const struct vly_minis *minis = &inet->tcp->minis;

	for (uint32_t slot = 0; slot < core->env.conns.count; slot++) {
		struct vly_conn_head *head = vly_conn_at(&core->env.conns, slot);
		bool live = head->type == VLY_STREAM && head->state != VLY_FREE &&
			    head->state != VLY_DEAD;
		const struct vly_tcp *tcp = vly_tcp_of(head);
		uint8_t was = last->was[host][slot], is = STATES_CLOSED;

		if (live && last->handle[host][slot] != head->handle)
			was = STATES_CLOSED;
		if (live) {
			is = name_of[tcp->state];
			check_record(inet, tcp, host);
		}
		last->handle[host][slot] = head->handle;
		if (is != was)
			states->steps[was][is]++;
		last->was[host][slot] = is;
	}
	/* Half-open and lingering connections have no record: only their numbers are seen. */
	if (minis->half_count > last->half[host])
		states->steps[STATES_CLOSED][STATES_SYN_RECEIVED] +=
			minis->half_count - last->half[host];
	if (minis->linger_count > last->lingering[host])
		states->steps[STATES_FIN_WAIT_2][STATES_TIME_WAIT] +=
			minis->linger_count - last->lingering[host];
	if (minis->linger_count < last->lingering[host])
		states->steps[STATES_TIME_WAIT][STATES_CLOSED] +=
			last->lingering[host] - minis->linger_count;
	last->half[host] = minis->half_count;
	last->lingering[host] = minis->linger_count;
}

/*
 * What waits to be sent and is not in flight waits for something: for room on the wire, or for a window
 * that is probed. Else nothing would ever send it.
 */
static void check_waiting(const struct vly_tcp *tcp, unsigned host)
{
	bool sends = tcp->state == VLY_TCP_ESTABLISHED || tcp->state == VLY_TCP_CLOSE_WAIT;

	if (!sends || tcp->snd_nxt != tcp->snd_una || !tcp->head.tx_bytes ||
	    tcp->bits & VLY_TCP_B_TX_LISTED)
		return;
	must(tcp->bits & VLY_TCP_B_PERSIST && vly_wheel_armed(&tcp->head.alarm.node),
	     "host %u, port %u: %u bytes wait, none is in flight, the window is %u, and nobody probes it",
	     host, ntohs(tcp->lport), tcp->head.tx_bytes, tcp->snd_wnd);
}

/* An ACK that is owed waits for room on the wire, or is delayed, and no longer than it may. */
static void check_owed(const struct vly_inet *inet, const struct vly_tcp *tcp, unsigned host)
{
	const struct vly_wheel_node *node = &tcp->head.alarm.node;
	uint64_t most_ns = inet->now_ns + ((uint64_t)inet->tcp->conf.delack + 1) * 1024;

	if (!(tcp->bits & VLY_TCP_B_ACK_DUE) || tcp->bits & VLY_TCP_B_TX_LISTED)
		return;
	must(tcp->bits & VLY_TCP_B_DELACK && vly_wheel_armed(node) && node->deadline_ns <= most_ns,
	     "host %u, port %u: an ACK is owed, and nothing sends it in time", host,
	     ntohs(tcp->lport));
}

void states_rest(const struct hosts *hosts)
{
	for (unsigned host = 0; host < hosts->count; host++) {
		struct vly_core *core = hosts->core[host];
		struct vly_inet *inet = vly_inet_of(core->nic);
		uint64_t due_ns = inet->tcp->minis_ns;
		const struct vly_wheel_node *node = &inet->alarm.node;

		must(due_ns == UINT64_MAX ||
			     (vly_wheel_armed(node) &&
			      node->deadline_ns <= VLY_MAX(due_ns, inet->now_ns + 1)),
		     "host %u: half-open connections are to be looked after in %lld ns, and it "
		     "is woken in %lld",
		     host, (long long)(due_ns - inet->now_ns),
		     vly_wheel_armed(node) ? (long long)(node->deadline_ns - inet->now_ns) : -1);
		for (uint32_t slot = 0; slot < core->env.conns.count; slot++) {
			struct vly_conn_head *head = vly_conn_at(&core->env.conns, slot);

			if (head->type != VLY_STREAM || head->state == VLY_FREE ||
			    head->state == VLY_DEAD)
				continue;
			check_waiting(vly_tcp_of(head), host);
			check_owed(inet, vly_tcp_of(head), host);
		}
	}
}

void states_add(struct states *to, const struct states *from)
{
	for (unsigned i = 0; i < STATES_COUNT; i++) {
		for (unsigned j = 0; j < STATES_COUNT; j++)
			to->steps[i][j] += from->steps[i][j];
	}
}

void states_print(const struct states *states, FILE *file)
{
	for (unsigned i = 0; i < STATES_COUNT; i++) {
		const char *before = "";

		for (unsigned j = 0; j < STATES_COUNT; j++) {
			if (!states->steps[i][j])
				continue;
			if (!*before)
				fprintf(file, "%12s ->", names[i]);
			fprintf(file, "%s %s %llu", before, names[j],
				(unsigned long long)states->steps[i][j]);
			before = ",";
		}
		if (*before)
			fputc('\n', file);
	}
}
