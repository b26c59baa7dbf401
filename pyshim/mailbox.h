/* mailbox.h - a queue from one thread to one other: chains of letters change hands by one exchange */
#ifndef PYSHIM_MAILBOX_H
#define PYSHIM_MAILBOX_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/compiler.h"

/*
 * Like a ring between one producer and one consumer, but never full: letters are linked, so there are as
 * many as there is memory, and limits are whoever makes them. Whoever holds a chain owns it: the slot
 * holds what was put and not taken. A producer that finds something there takes it back, and puts it
 * again with the new letters behind; the consumer takes all at once, and then works without looking at the
 * shared line. Only the producer makes the slot non-NULL, so no letter is ever met by both.
 */
struct letter {
	struct letter *next;
	struct letter *last; /* of the chain; valid in its first letter */
};

struct mailbox {
	alignas(VLY_WRITER_GAP) _Atomic(struct letter *) chain;
};

/* A chain that is being made, or worked off, by its owner. */
struct letters {
	struct letter *first;
};

static inline void letters_add(struct letters *letters, struct letter *letter)
{
	letter->next = NULL;
	letter->last = letter;
	if (letters->first) {
		letters->first->last->next = letter;
		letters->first->last = letter;
	} else {
		letters->first = letter;
	}
}

/* The oldest; NULL: none. */
static inline struct letter *letters_pop(struct letters *letters)
{
	struct letter *first = letters->first;

	if (first) {
		letters->first = first->next;
		if (first->next)
			first->next->last = first->last;
	}
	return first;
}

/*
 * Producer: all of `letters`, which is empty afterwards. Ordered before a sequentially consistent load
 * that follows, such as that of the consumer's "I am asleep" flag.
 */
static inline void mailbox_put(struct mailbox *box, struct letters *letters)
{
	struct letter *first = letters->first;

	if (!first)
		return;
	/* what it finds is this thread's own, untouched: relaxed */
	struct letter *old =
		atomic_exchange_explicit(&box->chain, (struct letter *)NULL, memory_order_relaxed);

	if (old) {
		old->last->next = first;
		old->last = first->last;
		first = old;
	}
	/* pairs with the loads in mailbox_take() */
	atomic_store_explicit(&box->chain, first, memory_order_seq_cst);
	letters->first = NULL;
}

/* Whether something waits: the last look of a consumer that has raised its flag (seq_cst). */
static inline bool mailbox_pending(struct mailbox *box)
{
	return atomic_load_explicit(&box->chain, memory_order_seq_cst) != NULL;
}

/* Consumer: all that was put, oldest first. An empty box costs one read of a shared line. */
static inline struct letters mailbox_take(struct mailbox *box)
{
	struct letters letters = {NULL};

	if (mailbox_pending(box)) /* pairs with the store in mailbox_put() */
		letters.first = atomic_exchange_explicit(&box->chain, (struct letter *)NULL,
							 memory_order_acquire);
	return letters;
}

#endif
