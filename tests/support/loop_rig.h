/* loop_rig.h - both sides of a loop in one process, and its memory as a third one sees it */
#ifndef VLY_TESTS_LOOP_RIG_H
#define VLY_TESTS_LOOP_RIG_H

#include <stdio.h>

#include "nic/inet/loop_map.h"
#include "tests/support/wire_rig.h"

struct pair {
	int fd;
	char text[2][128];
	struct wire_rig rig[2];
	struct vly_wire *wire[2];
	struct vly_loop_map map; /* a third look at the memory */
};

static inline void open_side(struct pair *p, unsigned side, const char *more)
{
	snprintf(p->text[side], sizeof(p->text[side]), "inet:loop,fd=%d,side=%u%s", p->fd, side,
		 more);
	rig_open(&p->rig[side], p->text[side], 1);
	p->wire[side] = rig_wire(&p->rig[side], 0);
}

static inline void close_side(struct pair *p, unsigned side)
{
	p->wire[side]->ops->close(p->wire[side]);
	rig_close(&p->rig[side]);
}

static inline void make_loop(struct pair *p, const struct vly_loop_opts *opts)
{
	p->fd = vly_loop_make(opts);
	cr_assert_geq(p->fd, 0);
	cr_assert_eq(vly_loop_map_open(&p->map, p->fd), 0);
}

static inline void open_pair(struct pair *p, const struct vly_loop_opts *opts, const char *more)
{
	make_loop(p, opts);
	open_side(p, 0, more);
	open_side(p, 1, more);
}

/* What side 0 sends begins at this index. */
static inline void open_pair_at(struct pair *p, uint32_t index)
{
	make_loop(p, NULL);
	struct vly_loop_ring *ring = vly_loop_ring(&p->map, 0, 0, 0);

	atomic_store(&ring->tail, index);
	atomic_store(&ring->head, index);
	open_side(p, 0, "");
	open_side(p, 1, "");
}

static inline void close_pair(struct pair *p)
{
	close_side(p, 0);
	close_side(p, 1);
	vly_loop_map_close(&p->map);
	vly_loop_close(p->fd);
}

#endif
