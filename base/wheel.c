/* wheel.c - a hierarchical timing wheel: one core's timers, without allocation */
#include "base/wheel.h"

#include <string.h>

#define DIGIT_MASK (VLY_WHEEL_SLOTS - 1)
#define SPAN_MASK ((UINT64_C(1) << VLY_WHEEL_SPAN_BITS) - 1)
#define NO_TICK UINT64_MAX

static_assert(VLY_WHEEL_SLOTS == 64, "one bit per slot in `occupied`");

void vly_wheel_init(struct vly_wheel *w, uint64_t now_ns, uint32_t tick_shift)
{
	assert(tick_shift <= 40);
	memset(w, 0, sizeof(*w));
	w->next_ns = UINT64_MAX;
	w->due_end = &w->due;
	w->tick = now_ns >> tick_shift;
	w->tick_shift = tick_shift;
}

void vly_wheel_fini(struct vly_wheel *w)
{
	assert(w->armed_count == 0);
	(void)w;
}

/* The first tick at or after a deadline. Rounding up is what makes a timer never early. */
static uint64_t expiry_of(const struct vly_wheel *w, uint64_t deadline_ns)
{
	uint64_t part_ns = deadline_ns & ((UINT64_C(1) << w->tick_shift) - 1);

	return (deadline_ns >> w->tick_shift) + (part_ns != 0);
}

/* When a tick begins. A tick past the end of the scale (only by rounding up) begins at its end. */
static uint64_t tick_ns(const struct vly_wheel *w, uint64_t tick)
{
	if (tick > UINT64_MAX >> w->tick_shift)
		return UINT64_MAX;
	return tick << w->tick_shift;
}

static void node_link(struct vly_wheel_node **head, struct vly_wheel_node *node)
{
	node->next = *head;
	node->pprev = head;
	if (node->next)
		node->next->pprev = &node->next;
	*head = node;
}

static void due_append(struct vly_wheel *w, struct vly_wheel_node *node)
{
	node->next = NULL;
	node->pprev = w->due_end;
	*w->due_end = node;
	w->due_end = &node->next;
}

/*
 * Puts a node where the header says, and returns the tick at which the wheel must look at it again:
 * its expiry at level 0, the start of its slot above, the start of the next span for the far list,
 * the present one if it is due.
 */
static uint64_t node_place(struct vly_wheel *w, struct vly_wheel_node *node)
{
	uint64_t expiry = expiry_of(w, node->deadline_ns);
	uint64_t differs = expiry ^ w->tick;
	unsigned int level, shift, slot;

	if (expiry <= w->tick) {
		due_append(w, node);
		return w->tick;
	}
	if (differs > SPAN_MASK) {
		node_link(&w->far, node);
		return (w->tick | SPAN_MASK) + 1;
	}
	level = (63u - (unsigned int)__builtin_clzll(differs)) / VLY_WHEEL_LEVEL_BITS;
	shift = level * VLY_WHEEL_LEVEL_BITS;
	slot = (unsigned int)(expiry >> shift) & DIGIT_MASK;
	node_link(&w->slots[level][slot], node);
	w->occupied[level] |= UINT64_C(1) << slot;
	return expiry >> shift << shift;
}

/* Takes a node out of whichever list holds it. */
static void node_unlink(struct vly_wheel *w, struct vly_wheel_node *node)
{
	/* Only the last of a list can leave it empty, or be where the due list ends. */
	if (!node->next) {
		uintptr_t offset = (uintptr_t)node->pprev - (uintptr_t)w->slots;

		if (w->due_end == &node->next) {
			w->due_end = node->pprev;
		} else if (offset < sizeof(w->slots)) {
			size_t index = offset / sizeof(w->slots[0][0]);

			w->occupied[index / VLY_WHEEL_SLOTS] &=
				~(UINT64_C(1) << (index % VLY_WHEEL_SLOTS));
		}
	} else {
		node->next->pprev = node->pprev;
	}
	*node->pprev = node->next;
	node->next = NULL;
	node->pprev = NULL;
}

void vly_wheel_add(struct vly_wheel *w, struct vly_wheel_node *node, uint64_t deadline_ns)
{
	uint64_t next_ns;

	assert(!vly_wheel_armed(node));
	node->deadline_ns = deadline_ns;
	next_ns = tick_ns(w, node_place(w, node));
	if (w->due)
		next_ns = 0;
	if (next_ns < w->next_ns)
		w->next_ns = next_ns;
	w->armed_count++;
}

bool vly_wheel_cancel(struct vly_wheel *w, struct vly_wheel_node *node)
{
	if (!vly_wheel_armed(node))
		return false;
	/* next_ns stays: too early is allowed, and the next turn mends it */
	node_unlink(w, node);
	w->armed_count--;
	return true;
}

/*
 * The tick at which the earliest slot must be looked at, its level (VLY_WHEEL_LEVELS: the far
 * list), or NO_TICK.
 */
static uint64_t next_tick(const struct vly_wheel *w, unsigned int *level_out)
{
	for (unsigned int level = 0; level < VLY_WHEEL_LEVELS; level++) {
		unsigned int shift = level * VLY_WHEEL_LEVEL_BITS;
		uint64_t digit;

		if (!w->occupied[level])
			continue;
		digit = (uint64_t)__builtin_ctzll(w->occupied[level]);
		*level_out = level;
		/* the tick's digits above this level, this digit, zeros */
		return (((w->tick >> shift) & ~(uint64_t)DIGIT_MASK) | digit) << shift;
	}
	*level_out = VLY_WHEEL_LEVELS;
	/* a far expiry differs above the span, so the sum cannot wrap */
	return w->far ? (w->tick | SPAN_MASK) + 1 : NO_TICK;
}

/* Moves every node of one slot, or of the far list, to where it belongs at the present tick. */
static void slot_cascade(struct vly_wheel *w, unsigned int level)
{
	struct vly_wheel_node *node, *next;

	if (level == VLY_WHEEL_LEVELS) {
		node = w->far;
		w->far = NULL;
	} else {
		unsigned int slot = (unsigned int)__builtin_ctzll(w->occupied[level]);

		node = w->slots[level][slot];
		w->slots[level][slot] = NULL;
		w->occupied[level] &= ~(UINT64_C(1) << slot);
	}
	for (; node; node = next) {
		next = node->next;
		node_place(w, node);
	}
}

struct vly_wheel_node *vly_wheel_turn(struct vly_wheel *w, uint64_t now_ns)
{
	uint64_t target = now_ns >> w->tick_shift;
	struct vly_wheel_node *node;

	while (!w->due) {
		unsigned int level;
		uint64_t tick = next_tick(w, &level);

		if (tick > target || tick == NO_TICK) {
			/*
			 * No occupied slot begins up to `target`, so every node keeps its level and
			 * slot.
			 */
			w->tick = VLY_MAX(w->tick, target);
			w->next_ns = tick == NO_TICK ? UINT64_MAX : tick_ns(w, tick);
			return NULL;
		}
		w->tick = tick;
		slot_cascade(w, level);
	}
	node = w->due;
	node_unlink(w, node);
	w->armed_count--;
	w->next_ns = 0; /* there may be more: the call that finds none sets it */
	return node;
}

uint64_t vly_wheel_next(const struct vly_wheel *w)
{
	unsigned int level;
	uint64_t tick;

	if (w->due)
		return 0;
	tick = next_tick(w, &level);
	return tick == NO_TICK ? UINT64_MAX : tick_ns(w, tick);
}

/* Whether a list is well linked and each of its nodes belongs there; counts its nodes. */
static bool list_valid(const struct vly_wheel *w, struct vly_wheel_node *const *head,
		       unsigned int level, unsigned int slot, uint32_t *count)
{
	struct vly_wheel_node *const *from = head;

	for (const struct vly_wheel_node *node = *head; node; node = node->next) {
		uint64_t expiry = expiry_of(w, node->deadline_ns);
		unsigned int shift = level * VLY_WHEEL_LEVEL_BITS;

		if (node->pprev != from || ++*count > w->armed_count)
			return false;
		from = &node->next;
		if (level == VLY_WHEEL_LEVELS) {
			if (expiry <= (w->tick | SPAN_MASK))
				return false;
			continue;
		}
		if (((expiry >> shift) & DIGIT_MASK) != slot || expiry <= w->tick)
			return false;
		if ((expiry ^ w->tick) >> shift >> VLY_WHEEL_LEVEL_BITS)
			return false;
	}
	return true;
}

bool vly_wheel_valid(const struct vly_wheel *w)
{
	struct vly_wheel_node *const *end = &w->due;
	uint32_t count = 0;

	if (w->next_ns > vly_wheel_next(w))
		return false;
	for (; *end; end = &(*end)->next) {
		if ((*end)->pprev != end || expiry_of(w, (*end)->deadline_ns) > w->tick)
			return false;
		if (++count > w->armed_count)
			return false;
	}
	if (w->due_end != end)
		return false;
	for (unsigned int level = 0; level < VLY_WHEEL_LEVELS; level++) {
		unsigned int shift = level * VLY_WHEEL_LEVEL_BITS;
		unsigned int digit = (unsigned int)(w->tick >> shift) & DIGIT_MASK;

		for (unsigned int slot = 0; slot < VLY_WHEEL_SLOTS; slot++) {
			bool occupied = (w->occupied[level] >> slot) & 1;

			if (occupied != (w->slots[level][slot] != NULL))
				return false;
			if (occupied && slot <= digit)
				return false;
			if (!list_valid(w, &w->slots[level][slot], level, slot, &count))
				return false;
		}
	}
	return list_valid(w, &w->far, VLY_WHEEL_LEVELS, 0, &count) && count == w->armed_count;
}
