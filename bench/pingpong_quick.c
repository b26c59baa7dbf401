/* pingpong_quick.c - whole echoes of one message under way, each answered by the next */
#include "bench/pingpong_quick.h"

#include "bench/payload.h"
#include "bench/pingpong_send.h"

static inline bool is_right(uint64_t base, const struct vly_event *event)
{
	if (__builtin_expect(event->len == 64, 1))
		return payload_is_64(base, event->data);
	return payload_differs(base, 0, event->data, event->len) == event->len;
}

/* Round trips that ended at the same reading. */
static void record(struct pingpong_client *client, const uint64_t *spans_ns, uint32_t count,
		   bool counts)
{
	if (counts)
		histogram_record_all(&client->figures.latency, spans_ns, count);
	client->figures.messages += count;
}

uint32_t pingpong_quick(struct pingpong_client *client, const struct vly_event *events,
			uint32_t count, uint32_t max, uint64_t now_ns)
{
	uint32_t size_bytes = client->params.size_bytes, done = 0;
	bool counts = in_window(client, now_ns);
	uint64_t spans_ns[LOAD_BATCH];

	if (max > LOAD_BATCH)
		max = LOAD_BATCH;
	if (max > count)
		max = count;
	while (done < max) {
		const struct vly_event *event = &events[done];
		struct ping *ping = event->user;

		if (done + PINGPONG_AHEAD < count)
			__builtin_prefetch(event[PINGPONG_AHEAD].user, 1);
		if (event->kind != VLY_DATA || event->len != size_bytes ||
		    !ping_awaits_whole(ping) || ping->sent != ping->received + 1)
			break;
		uint64_t base = payload_base(ping->key, ping->received);

		/* what differs, the long way tells where */
		if (!is_right(base, event))
			break;
		spans_ns[done++] = now_ns - ping->begun_ns;
		ping->counted += counts;
		ping->received++;
		ping->heard_ns = now_ns;
		pingpong_stamp_later(client, &ping->begun_ns);
		payload_fill(payload_after(base), client->scratch, size_bytes);
		int err = vly_send(client->core, ping->conn, client->scratch, size_bytes);

		if (__builtin_expect(err, 0)) {
			client->figures.outstanding--;
			pingpong_not_sent(client, ping, err);
			break;
		}
		/* one comes, one goes: `outstanding` stays */
		ping->sent++;
	}
	record(client, spans_ns, done, counts);
	return done;
}
