/* mini.c - connections that need no record: their pool and lists */
#include "nic/inet/mini.h"

#include <errno.h>

int vly_minis_init(struct vly_minis *minis, void *mem, uint32_t half_max, uint32_t linger_max)
{
	*minis = (struct vly_minis){.half_max = half_max, .linger_max = linger_max};
	for (unsigned i = 0; i < VLY_MINI_LISTS; i++)
		minis->lists[i].head = minis->lists[i].tail = VLY_NO_MINI;
	return vly_slab_init(&minis->slab, mem, half_max + linger_max, sizeof(struct vly_mini),
			     offsetof(struct vly_mini, prev));
}

void vly_minis_fini(struct vly_minis *minis)
{
	vly_slab_fini(&minis->slab);
}

struct vly_mini *vly_mini_take(struct vly_minis *minis, bool linger)
{
	uint32_t *count = linger ? &minis->linger_count : &minis->half_count;

	if (*count == (linger ? minis->linger_max : minis->half_max))
		return NULL;
	struct vly_mini *mini = vly_slab_get(&minis->slab);

	if (!mini)
		return NULL;
	(*count)++;
	*mini = (struct vly_mini){
		.list = linger ? VLY_MINI_TIME_WAIT : VLY_MINI_SYN,
		.prev = VLY_NO_MINI,
		.next = VLY_NO_MINI,
	};
	return mini;
}

static bool listed(const struct vly_minis *minis, const struct vly_mini *mini)
{
	return mini->prev != VLY_NO_MINI ||
	       minis->lists[mini->list].head == vly_mini_index(minis, mini);
}

void vly_mini_put(struct vly_minis *minis, struct vly_mini *mini)
{
	vly_mini_unlist(minis, mini);
	if (mini->list == VLY_MINI_TIME_WAIT)
		minis->linger_count--;
	else
		minis->half_count--;
	vly_slab_put(&minis->slab, mini);
}

void vly_mini_list(struct vly_minis *minis, struct vly_mini *mini, unsigned list)
{
	struct vly_mini_list *to = &minis->lists[list];
	uint32_t index = vly_mini_index(minis, mini);

	assert((list == VLY_MINI_TIME_WAIT) == (mini->list == VLY_MINI_TIME_WAIT));
	mini->list = (uint8_t)list;
	mini->next = VLY_NO_MINI;
	mini->prev = to->tail;
	if (to->tail == VLY_NO_MINI)
		to->head = index;
	else
		vly_mini_at(minis, to->tail)->next = index;
	to->tail = index;
	to->count++;
}

void vly_mini_unlist(struct vly_minis *minis, struct vly_mini *mini)
{
	struct vly_mini_list *from = &minis->lists[mini->list];

	if (!listed(minis, mini))
		return;
	if (mini->prev == VLY_NO_MINI)
		from->head = mini->next;
	else
		vly_mini_at(minis, mini->prev)->next = mini->next;
	if (mini->next == VLY_NO_MINI)
		from->tail = mini->prev;
	else
		vly_mini_at(minis, mini->next)->prev = mini->prev;
	mini->prev = mini->next = VLY_NO_MINI;
	from->count--;
}

struct vly_mini *vly_mini_first(const struct vly_minis *minis, unsigned list)
{
	uint32_t head = minis->lists[list].head;

	return head == VLY_NO_MINI ? NULL : vly_mini_at(minis, head);
}
