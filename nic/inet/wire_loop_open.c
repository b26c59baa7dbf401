/* wire_loop_open.c - a loop by its name: options, how many queues, opening what fits */
#include "nic/inet/wire_loop.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "nic/inet/loop_part.h"

static const char *const keys[] = {"fd", "side", "csum", "mtu", NULL};

/* side=core: each core is a side, a host of its own. */
#define SIDE_CORE 2u

static int parse(const struct vly_nic_spec *spec, struct vly_wire_options *options, int *fd,
		 unsigned *side, char *why, size_t why_bytes)
{
	uint64_t number;
	int error = vly_wire_options_parse(options, spec, why, why_bytes);

	if (!error && (!vly_spec_get(spec, "fd") || !vly_spec_get(spec, "side"))) {
		snprintf(why, why_bytes,
			 "wire loop needs fd= (of vly_loop_make) and side=0, 1 or core");
		error = -EINVAL;
	}
	if (!error)
		error = vly_spec_number(spec, "fd", INT32_MAX, 0, &number, why, why_bytes);
	if (error)
		return error;
	*fd = (int)number;
	*side = SIDE_CORE;
	if (strcmp(vly_spec_get(spec, "side"), "core") == 0)
		return 0;
	error = vly_spec_number(spec, "side", 1, 0, &number, why, why_bytes);
	*side = error ? 0 : (unsigned)number;
	return error;
}

static int loop_check(const struct vly_nic_spec *spec, const struct vly_wire_ops *const *stack,
		      char *why, size_t why_bytes)
{
	struct vly_wire_options options;
	struct vly_loop_map map;
	unsigned side;
	int fd, error = parse(spec, &options, &fd, &side, why, why_bytes);

	(void)stack;
	if (error)
		return error;
	error = vly_loop_map_open(&map, fd);
	if (error) {
		snprintf(why, why_bytes, "fd=%d is no loop: %s", fd, strerror(-error));
		return error;
	}
	if (vly_spec_get(spec, "mtu") && options.mtu > map.head.mtu) {
		snprintf(why, why_bytes, "mtu=%u: this loop was made for %u", options.mtu,
			 map.head.mtu);
		error = -EINVAL;
	}
	vly_loop_map_close(&map);
	return error;
}

static size_t loop_region_bytes(const struct vly_config *config, const struct vly_nic_spec *spec,
				const struct vly_wire_ops *const *stack)
{
	struct vly_loop_head head;
	struct vly_wire_options options;
	unsigned side;
	int fd;

	(void)config;
	(void)stack;
	if (!parse(spec, &options, &fd, &side, NULL, 0) && !vly_loop_map_head(&head, fd) &&
	    head.queues[0] * head.queues[1] > 1)
		return vly_loop_many_bytes(&head, side % 2);
	return vly_loop_part_bytes() + vly_wire_take_bytes(VLY_LOOP_SPARE_BYTES);
}

/* What it was made for, unless it is to be less. */
static uint32_t loop_mtu(const struct vly_nic_spec *spec)
{
	struct vly_wire_options options;
	struct vly_loop_head head;
	char why[160];
	unsigned side;
	int fd;

	if (parse(spec, &options, &fd, &side, why, sizeof(why)) || vly_loop_map_head(&head, fd))
		return options.mtu; /* opening it will fail */
	return vly_spec_get(spec, "mtu") ? VLY_MIN(options.mtu, head.mtu) : head.mtu;
}

static int loop_queues(const struct vly_wire_setup *setup)
{
	unsigned cores = setup->config->cores;
	struct vly_wire_options options;
	struct vly_loop_head head;
	char why[160] = "";
	unsigned side;
	int fd, error = parse(setup->spec, &options, &fd, &side, why, sizeof(why));

	if (!error)
		error = vly_loop_map_head(&head, fd);
	if (error) {
		vly_log(VLY_LOG_ERROR, "wire loop: %s", why[0] ? why : strerror(-error));
		return error;
	}
	if (side == SIDE_CORE && (cores > 2 || head.queues[0] * head.queues[1] > 1)) {
		vly_log(VLY_LOG_ERROR,
			"wire loop: side=core is for two cores and a queue for each, "
			"not for %u",
			cores);
		return -EINVAL;
	}
	if (side == SIDE_CORE)
		return (int)cores;
	if (head.queues[side] > cores) {
		vly_log(VLY_LOG_ERROR, "wire loop: side %u has %u queues, but there are %u cores",
			side, head.queues[side], cores);
		return -EINVAL;
	}
	return head.queues[side];
}

/* The wire of one queue on each side is one part, which owns what several would share. */
static int open_single(struct vly_loop_part *part, struct vly_wire **wire)
{
	int error = vly_loop_fds_open(part->map, part->side, part->queue, &part->fd, &part->bell);

	part->part = false;
	if (error)
		return error;
	error = vly_loop_part_open(part, wire);
	if (error) {
		close(part->fd);
		close(part->bell);
		return error;
	}
	return 0;
}

static int loop_open(const struct vly_wire_setup *setup, struct vly_wire **wire)
{
	struct vly_wire_options options;
	struct vly_loop_map map;
	char why[160] = "";
	unsigned side;
	int fd, error = parse(setup->spec, &options, &fd, &side, why, sizeof(why));

	if (!error)
		error = vly_loop_map_open(&map, fd);
	if (error) {
		vly_log(VLY_LOG_ERROR, "wire loop: %s", why[0] ? why : strerror(-error));
		return error;
	}
	struct vly_loop_part part = {
		.region = setup->region,
		.map = &map,
		.side = side == SIDE_CORE ? setup->queue : side,
		.queue = side == SIDE_CORE ? 0 : setup->queue,
		.offload = options.offload,
		.mtu = vly_spec_get(setup->spec, "mtu") ? VLY_MIN(options.mtu, map.head.mtu)
							: map.head.mtu,
		.spare = vly_wire_take(setup->region, VLY_LOOP_SPARE_BYTES),
	};

	if (!part.spare)
		error = -ENOMEM;
	else if (map.head.queues[0] * map.head.queues[1] > 1)
		error = vly_loop_many_open(&part, wire);
	else
		error = open_single(&part, wire);
	if (error) {
		vly_log(VLY_LOG_ERROR, "wire loop: %s%s", strerror(-error),
			error == -EMFILE ? ": raise the limit of open files (ulimit -n)" : "");
		vly_loop_map_close(&map);
		return error;
	}
	if (side == SIDE_CORE) {
		(*wire)->caps |= VLY_WIRE_HOST_PER_CORE;
		(*wire)->queue = setup->queue;
		(*wire)->queues = setup->queues;
	}
	return 0;
}

const struct vly_wire_ops vly_wire_loop = {
	.name = "loop",
	.keys = keys,
	.check = loop_check,
	.region_bytes = loop_region_bytes,
	.queues = loop_queues,
	.mtu = loop_mtu,
	.open = loop_open,
};
