/* track.h - what each connection has reported, and the rules that all events obey */
#ifndef VLY_TESTS_CONTRACT_TRACK_H
#define VLY_TESTS_CONTRACT_TRACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "volley/volley.h"

#define TRACK_KINDS (VLY_READY + 1)

struct track {
	vly_conn conn;
	void *user; /* of its first event, or of world_set_user() */
	bool has_user;
	int open_status;
	int closed_status;
	int sent_errors; /* SENT with a status below 0 */
	unsigned count[TRACK_KINDS];
	uint64_t open_batch; /* number of the batch of its OPEN */
	uint64_t last_batch;
	uint64_t bytes; /* of DATA */
	uint8_t *data;  /* all of it, if tracks.keep_data */
	size_t data_room;
};

/* One recorded event. Pointers into the engine's memory are not kept; small payloads are. */
struct record {
	unsigned core;
	uint64_t batch;
	struct vly_event event; /* data is NULL but for SENT */
	uint8_t bytes[64];      /* the first of MAIL and DGRAM */
};

struct tracks {
	struct track **slots; /* open addressing by handle */
	size_t slots_count, used;
	struct record *records; /* if keep_records, all events in order */
	size_t records_count, records_room;
	bool keep_data, keep_records;
	uint64_t batch;
	uint64_t stamp_last[16];
	unsigned stamp_faults; /* stamps that differ within a batch or run backwards */
	uint64_t count[TRACK_KINDS];
};

void tracks_init(struct tracks *tracks);
void tracks_fini(struct tracks *tracks);

/* The track of a handle, made if it is new. */
struct track *tracks_get(struct tracks *tracks, vly_conn conn);

/*
 * Starts the batch of core `core`: the rules about one batch. Call it before any event is acted
 * upon.
 */
void tracks_batch(struct tracks *tracks, unsigned core, const struct vly_event *events, int count);

/* Records one event: the rules about the order of a connection's events. */
void tracks_event(struct tracks *tracks, unsigned core, const struct vly_event *event);

#endif
