/* wire.c - the wires that are built; finding the stack that a nic's name asks for */
#include "nic/inet/wire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "nic/inet/wire_device.h"
#include "nic/inet/wire_dpdk.h"
#include "nic/inet/wire_hub.h"
#include "nic/inet/wire_impair.h"
#include "nic/inet/wire_loop.h"
#include "nic/inet/wire_options.h"
#include "nic/inet/wire_pcap.h"

static const struct vly_wire_ops *const built[] = {
	&vly_wire_hub, &vly_wire_loop,   &vly_wire_impair, &vly_wire_pcap,
	&vly_wire_tap, &vly_wire_packet, &vly_wire_dpdk,   NULL,
};

static const struct vly_wire_ops *added;

void vly_wire_add(const struct vly_wire_ops *extra)
{
	added = extra;
}

const struct vly_wire_ops *vly_wire_find(const char *name)
{
	for (unsigned i = 0; built[i]; i++) {
		if (strcmp(built[i]->name, name) == 0)
			return built[i];
	}
	return added && strcmp(added->name, name) == 0 ? added : NULL;
}

int vly_wire_resolve(const struct vly_nic_spec *spec,
		     const struct vly_wire_ops *stack[VLY_WIRE_STACK_MAX + 1], char *why,
		     size_t why_bytes)
{
	unsigned count = 0;

	for (unsigned i = 0; i < spec->options_count; i++) {
		const struct vly_wire_ops *wire = vly_wire_find(spec->options[i].key);

		if (!wire || spec->options[i].value)
			continue;
		if (count == VLY_WIRE_STACK_MAX) {
			snprintf(why, why_bytes, "more than %d wires", VLY_WIRE_STACK_MAX);
			return -EINVAL;
		}
		if (count && !stack[count - 1]->wraps) {
			snprintf(why, why_bytes, "wire %s does not wrap another: %s comes too late",
				 stack[count - 1]->name, wire->name);
			return -EINVAL;
		}
		stack[count++] = wire;
	}
	stack[count] = NULL;
	if (!count) {
		snprintf(why, why_bytes, "nic %s needs a wire, such as %s:hub,ip=10.0.0.1/24",
			 spec->name, spec->name);
		return -EINVAL;
	}
	if (stack[count - 1]->wraps) {
		snprintf(why, why_bytes, "wire %s needs another below it", stack[count - 1]->name);
		return -EINVAL;
	}
	return 0;
}

int vly_wire_queues(const struct vly_wire_setup *setup)
{
	const struct vly_wire_ops *const *stack = setup->stack;

	while (stack[1])
		stack++;
	return stack[0]->queues ? stack[0]->queues(setup) : (int)setup->config->cores;
}

uint32_t vly_wire_mtu(const struct vly_wire_ops *const *stack, const struct vly_nic_spec *spec)
{
	struct vly_wire_options options;
	char why[128];

	while (stack[1])
		stack++;
	if (stack[0]->mtu)
		return stack[0]->mtu(spec);
	(void)vly_wire_options_parse(&options, spec, why, sizeof(why)); /* check() has told */
	return options.mtu;
}
