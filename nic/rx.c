/* rx.c - the turnover of receive buffers */
#include "nic/rx.h"

bool vly_rx_turn(struct vly_rx *rx)
{
	struct vly_buf *fresh = vly_buf_get(rx->pool);

	if (!fresh)
		return false;
	fresh->len = fresh->cap; /* slices are cut out of the whole of it */
	if (rx->current) {
		rx->current->next = rx->lent;
		rx->lent = rx->current;
	}
	rx->current = fresh;
	rx->current_used = 0;
	rx->lent_count++;
	return true;
}

void vly_rx_recycle_all(struct vly_rx *rx)
{
	struct vly_buf *lent = rx->lent;

	rx->lent = NULL;
	rx->current_used = 0;
	if (rx->current && rx->current->refs > 1) {
		vly_buf_put(rx->current);
		rx->current = NULL;
		rx->lent_count--;
	}
	while (lent) {
		struct vly_buf *next = lent->next;

		lent->next = NULL;
		vly_buf_put(lent);
		rx->lent_count--;
		lent = next;
	}
}

void vly_rx_fini(struct vly_rx *rx)
{
	if (rx->current)
		vly_buf_put(rx->current);
	rx->current = NULL;
	vly_buf_put_chain(rx->lent);
	rx->lent = NULL;
	rx->lent_count = 0;
}
