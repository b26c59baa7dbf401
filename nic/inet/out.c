/* out.c - frames on their way to the wire */
#include "nic/inet/stack.h"

static void give_back(struct vly_inet *inet)
{
	struct vly_wire *wire = inet->wire;

	if (!inet->out_lent)
		return;
	wire->ops->tx_send(wire, inet->now_ns, inet->out, inet->out_used);
	inet->stats.tx_frames += inet->out_used;
	inet->out_lent = inet->out_used = 0;
}

bool vly_out_turn(struct vly_inet *inet)
{
	struct vly_wire *wire = inet->wire;

	/* a full wire is asked once a burst, not by everybody who would send */
	if (inet->out_full)
		return false;
	give_back(inet);
	inet->out_lent = wire->ops->tx_take(wire, inet->now_ns, inet->out, VLY_OUT_BURST);
	if (inet->out_lent)
		return true;
	inet->out_full = true;
	inet->stats.tx_full++;
	return false;
}

void vly_out_push(struct vly_inet *inet)
{
	give_back(inet);
	inet->out_full = false;
}
