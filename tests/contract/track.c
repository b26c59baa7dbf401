/* track.c - what each connection has reported, and the rules that all events obey */
#include "tests/contract/track.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[TRACK_KINDS] = {
	[VLY_NONE] = "NONE",     [VLY_OPEN] = "OPEN",   [VLY_DATA] = "DATA",
	[VLY_EOF] = "EOF",       [VLY_SENT] = "SENT",   [VLY_DRAINED] = "DRAINED",
	[VLY_CLOSED] = "CLOSED", [VLY_DGRAM] = "DGRAM", [VLY_TIMER] = "TIMER",
	[VLY_MAIL] = "MAIL",     [VLY_READY] = "READY",
};

void tracks_init(struct tracks *tracks)
{
	memset(tracks, 0, sizeof(*tracks));
	tracks->keep_data = true;
	tracks->keep_records = true;
	tracks->slots_count = 256;
	tracks->slots = calloc(tracks->slots_count, sizeof(*tracks->slots));
	cr_assert_not_null(tracks->slots);
}

void tracks_fini(struct tracks *tracks)
{
	for (size_t i = 0; i < tracks->slots_count; i++) {
		if (tracks->slots[i])
			free(tracks->slots[i]->data);
		free(tracks->slots[i]);
	}
	free(tracks->slots);
	free(tracks->records);
	memset(tracks, 0, sizeof(*tracks));
}

static struct track **find_slot(struct track **slots, size_t slots_count, vly_conn conn)
{
	size_t i = (size_t)((conn * 0x9e3779b97f4a7c15ull) >> 32) & (slots_count - 1);

	while (slots[i] && slots[i]->conn != conn)
		i = (i + 1) & (slots_count - 1);
	return &slots[i];
}

static void grow(struct tracks *tracks)
{
	size_t count = tracks->slots_count * 4;
	struct track **slots = calloc(count, sizeof(*slots));

	cr_assert_not_null(slots);
	for (size_t i = 0; i < tracks->slots_count; i++)
		if (tracks->slots[i])
			*find_slot(slots, count, tracks->slots[i]->conn) = tracks->slots[i];
	free(tracks->slots);
	tracks->slots = slots;
	tracks->slots_count = count;
}

struct track *tracks_get(struct tracks *tracks, vly_conn conn)
{
	struct track **slot = find_slot(tracks->slots, tracks->slots_count, conn);

	if (!*slot) {
		if (tracks->used * 2 >= tracks->slots_count) {
			grow(tracks);
			slot = find_slot(tracks->slots, tracks->slots_count, conn);
		}
		*slot = calloc(1, sizeof(**slot));
		cr_assert_not_null(*slot);
		(*slot)->conn = conn;
		tracks->used++;
	}
	return *slot;
}

void tracks_batch(struct tracks *tracks, unsigned core, const struct vly_event *events, int count)
{
	uint64_t stamp = count ? events[0].stamp_ns : 0;

	tracks->batch++;
	for (int i = 0; i < count; i++) {
		struct track *track;

		if (events[i].stamp_ns != stamp || stamp < tracks->stamp_last[core])
			tracks->stamp_faults++;
		if (!events[i].conn || events[i].kind == VLY_NONE)
			continue;
		/* What the user attached at OPEN must not be missing in the same batch. */
		track = tracks_get(tracks, events[i].conn);
		cr_assert(!track->open_batch || track->open_batch != tracks->batch,
			  "%s after OPEN in one batch", kind_names[events[i].kind % TRACK_KINDS]);
		if (events[i].kind == VLY_OPEN)
			track->open_batch = tracks->batch;
	}
	if (count)
		tracks->stamp_last[core] = stamp;
}

static void keep_record(struct tracks *tracks, unsigned core, const struct vly_event *event)
{
	struct record *record;

	if (tracks->records_count == tracks->records_room) {
		tracks->records_room = tracks->records_room ? tracks->records_room * 2 : 256;
		tracks->records =
			realloc(tracks->records, tracks->records_room * sizeof(*tracks->records));
		cr_assert_not_null(tracks->records);
	}
	record = &tracks->records[tracks->records_count++];
	record->core = core;
	record->batch = tracks->batch;
	record->event = *event;
	if (event->kind != VLY_SENT)
		record->event.data = NULL;
	if (event->kind == VLY_MAIL || event->kind == VLY_DGRAM)
		memcpy(record->bytes, event->data,
		       event->len < sizeof(record->bytes) ? event->len : sizeof(record->bytes));
}

static void keep_data(struct track *track, const struct vly_event *event)
{
	if (track->bytes + event->len > track->data_room) {
		track->data_room = (size_t)(track->bytes + event->len) * 2;
		track->data = realloc(track->data, track->data_room);
		cr_assert_not_null(track->data);
	}
	memcpy(track->data + track->bytes, event->data, event->len);
}

/* Rule 4, seen from one connection. */
static void check_order(const struct track *track, const struct vly_event *event)
{
	const char *kind = kind_names[event->kind];

	cr_assert(!track->count[VLY_CLOSED], "%s after CLOSED", kind);
	cr_assert(track->open_status >= 0, "%s after a failed OPEN", kind);
	cr_assert(!track->has_user || track->user == event->user, "%s with another user", kind);
	switch (event->kind) {
	case VLY_OPEN:
		cr_assert(!track->count[VLY_OPEN], "a second OPEN");
		cr_assert(event->status <= 0, "OPEN with status %d", event->status);
		break;
	case VLY_DATA:
		cr_assert(track->count[VLY_OPEN], "DATA before OPEN");
		cr_assert(!track->count[VLY_EOF], "DATA after EOF");
		cr_assert(event->len > 0, "DATA of no bytes");
		break;
	case VLY_EOF:
		cr_assert(track->count[VLY_OPEN], "EOF before OPEN");
		cr_assert(!track->count[VLY_EOF], "a second EOF");
		break;
	case VLY_SENT:
	case VLY_CLOSED:
		cr_assert(event->status <= 0, "%s with status %d", kind, event->status);
		break;
	default:
		break;
	}
}

void tracks_event(struct tracks *tracks, unsigned core, const struct vly_event *event)
{
	struct track *track;

	cr_assert(event->kind < TRACK_KINDS, "an event of kind %d", event->kind);
	tracks->count[event->kind]++;
	if (event->kind == VLY_NONE)
		return;
	if (tracks->keep_records)
		keep_record(tracks, core, event);
	if (event->kind == VLY_TIMER || event->kind == VLY_MAIL)
		return;
	if (!event->conn) {
		cr_assert(event->kind == VLY_DRAINED, "%s of no connection",
			  kind_names[event->kind]);
		return;
	}
	cr_assert(vly_conn_core(event->conn) == core, "core %u reports core %u's connection", core,
		  vly_conn_core(event->conn));
	track = tracks_get(tracks, event->conn);
	check_order(track, event);
	if (event->kind == VLY_DATA) {
		if (tracks->keep_data)
			keep_data(track, event);
		track->bytes += event->len;
	} else if (event->kind == VLY_OPEN) {
		track->open_status = event->status;
	} else if (event->kind == VLY_CLOSED) {
		track->closed_status = event->status;
	} else if (event->kind == VLY_SENT && event->status < 0) {
		track->sent_errors++;
	}
	track->user = event->user;
	track->has_user = true;
	track->last_batch = tracks->batch;
	track->count[event->kind]++;
}
