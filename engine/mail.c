/* mail.c - the rings between cores: filling, showing, waking, emptying */
#include "engine/mail.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "engine/core.h"
#include "engine/engine.h"

void vly_mail_ring_bell(int wake_fd)
{
	uint64_t one = 1;
	int saved = errno; /* signal handlers come here */
	ssize_t ignored = write(wake_fd, &one, sizeof(one));

	(void)ignored; /* full means that it was rung already */
	errno = saved;
}

static void set_bit(uint64_t *words, uint64_t *any, unsigned place)
{
	words[place / 64] |= 1ull << (place % 64);
	*any = 1;
}

static struct vly_ring *ring_to(struct vly_core *core, unsigned place)
{
	if (place < VLY_CORES_MAX)
		return vly_engine_ring(core->engine, core->index, place);
	return vly_engine_port(core->engine, core->index, place - VLY_CORES_MAX)->from_core;
}

static struct vly_ring *ring_from(struct vly_core *core, unsigned place)
{
	if (place < VLY_CORES_MAX)
		return vly_engine_ring(core->engine, place, core->index);
	return vly_engine_port(core->engine, core->index, place - VLY_CORES_MAX)->to_core;
}

void vly_mail_hang_bell(struct vly_core *core)
{
	const struct vly_nic_ops *ops = core->engine->ops;
	struct vly_mailbox *box = core->mail.box;
	int bell = ops->bell ? ops->bell(core->nic) : -1;

	if (bell >= 0 && dup3(bell, box->bell_fd, O_CLOEXEC) >= 0)
		atomic_store_explicit(&box->has_bell, true, memory_order_release);
}

void vly_mail_unhang_bell(struct vly_core *core)
{
	struct vly_mailbox *box = core->mail.box;

	atomic_store_explicit(&box->has_bell, false, memory_order_relaxed);
	if (box->bell_fd >= 0)
		dup3(box->wake_fd, box->bell_fd, O_CLOEXEC);
}

/* Core `to` sleeps. `handed_over`: what is given to the nic now reaches the kernel without delay. */
static void wake_core(struct vly_core *core, unsigned to, bool handed_over)
{
	const struct vly_mailbox *box = core->engine->seats[to].mailbox;

	if (handed_over && atomic_load_explicit(&box->has_bell, memory_order_acquire) &&
	    core->engine->ops->ring(core->nic, box->bell_fd, box->wake_fd))
		return;
	vly_mail_ring_bell(box->wake_fd);
}

/* Tells the receiver behind `place` that its ring has something, and wakes it if it sleeps. */
static void notify(struct vly_core *core, unsigned place, bool handed_over)
{
	if (place >= VLY_CORES_MAX) {
		struct vly_port *port =
			vly_engine_port(core->engine, core->index, place - VLY_CORES_MAX);

		if (atomic_load_explicit(&port->sleeping, memory_order_seq_cst) &&
		    atomic_exchange_explicit(&port->sleeping, false, memory_order_seq_cst))
			vly_mail_ring_bell(port->wake_fd);
		return;
	}
	if (vly_engine_post(core->engine, place, core->index))
		wake_core(core, place, handed_over);
}

static void publish_one(struct vly_core *core, unsigned place, bool handed_over)
{
	vly_ring_publish_ordered(ring_to(core, place), core->mail.unsent_count[place]);
	core->mail.unsent_count[place] = 0;
	notify(core, place, handed_over);
}

int vly_mail_put(struct vly_core *core, unsigned place, struct vly_ring *ring, const void *data,
		 uint32_t len)
{
	struct vly_mail *mail = &core->mail;
	uint32_t *unsent = &mail->unsent_count[place];

	if (len > core->config->mail_bytes)
		return -EMSGSIZE;
	if (mail->blocked[place / 64] >> (place % 64) & 1)
		return -EAGAIN;
	if (vly_ring_reserve(ring, *unsent + 1) <= *unsent) {
		if (*unsent)
			/* else the receiver might never see what fills the ring */
			publish_one(core, place, false);
		if (vly_ring_block(ring)) {
			set_bit(mail->blocked, &mail->any_blocked, place);
			vly_count(&core->env.stats->mail_blocked, 1);
			return -EAGAIN;
		}
	}
	struct vly_letter *letter = vly_ring_slot_in(ring, *unsent);

	letter->len = len;
	if (len)
		memcpy(letter->data, data, len);
	vly_count(&core->env.stats->mail_tx, 1);
	if (++*unsent == VLY_MAIL_BATCH)
		publish_one(core, place, false);
	else
		set_bit(mail->unsent, &mail->any_unsent, place);
	return 0;
}

int vly_mail(struct vly_core *core, unsigned to, const void *data, uint32_t len)
{
	if (vly_forked())
		return -ECHILD;
	if (to >= core->config->cores)
		return -ENOENT;
	return vly_mail_put(core, to, vly_engine_ring(core->engine, core->index, to), data, len);
}

void vly_mail_publish(struct vly_core *core)
{
	struct vly_mail *mail = &core->mail;

	if (vly_likely(!mail->any_unsent))
		return;
	mail->any_unsent = 0;
	for (unsigned word = 0; word < VLY_INBOX_WORDS; word++) {
		for (; mail->unsent[word]; mail->unsent[word] &= mail->unsent[word] - 1) {
			unsigned place = word * 64 + (unsigned)__builtin_ctzll(mail->unsent[word]);

			if (mail->unsent_count[place])
				publish_one(core, place, true);
		}
	}
}

static void add_mail(struct vly_core *core, unsigned place, struct vly_letter *letter)
{
	struct vly_event *event = vly_batch_add(&core->env.batch, VLY_MAIL);

	event->data = letter->data;
	event->len = letter->len;
	event->aux = (uint16_t)(place < VLY_CORES_MAX ? place : place - VLY_CORES_MAX);
	event->flags = place < VLY_CORES_MAX ? 0 : VLY_FROM_PORT;
}

/* The foreign thread has let go of the port; nothing of it is in the current batch. */
static void port_gone(struct vly_core *core, struct vly_port *port)
{
	unsigned place = VLY_CORES_MAX + port->index;
	uint64_t bit = 1ull << port->index;

	core->mail.blocked[VLY_PORT_WORD] &= ~bit;
	core->mail.unsent[VLY_PORT_WORD] &= ~bit;
	core->mail.unsent_count[place] = 0;
	close(port->wake_fd);
	/* pairs with the acquire of the next vly_port_open() */
	atomic_store_explicit(&port->state, VLY_PORT_FREE, memory_order_release);
}

/* Empties one ring into the batch. False if there may be more. */
static bool collect_ring(struct vly_core *core, unsigned place, uint32_t batch_max)
{
	struct vly_mail *mail = &core->mail;
	struct vly_ring *ring = ring_from(core, place);
	uint32_t taken = mail->taken_count[place];
	uint32_t filled = vly_ring_peek(ring, core->config->mail_slots);

	for (; taken < filled; taken++) {
		if (core->env.batch.count >= batch_max)
			break;
		add_mail(core, place, vly_ring_slot_out(ring, taken));
		vly_count(&core->env.stats->mail_rx, 1);
	}
	if (taken) {
		mail->taken_count[place] = taken;
		set_bit(mail->taken, &mail->any_taken, place);
	}
	return taken >= filled;
}

static void collect_drained(struct vly_core *core, uint32_t batch_max)
{
	struct vly_mail *mail = &core->mail;

	mail->any_blocked = 0;
	for (unsigned word = 0; word < VLY_INBOX_WORDS; word++) {
		for (uint64_t bits = mail->blocked[word]; bits; bits &= bits - 1) {
			unsigned place = word * 64 + (unsigned)__builtin_ctzll(bits);

			mail->any_blocked = 1;
			if (core->env.batch.count >= batch_max)
				return;
			if (vly_ring_block(ring_to(core, place)))
				continue;
			struct vly_event *event = vly_batch_add(&core->env.batch, VLY_DRAINED);

			event->aux =
				(uint16_t)(place < VLY_CORES_MAX ? place : place - VLY_CORES_MAX);
			event->flags = place < VLY_CORES_MAX ? 0 : VLY_FROM_PORT;
			mail->blocked[word] &= ~(bits & -bits);
		}
	}
}

/* Whether the ring of a waiting port is to be looked at; a port that is going is let go of. */
static bool port_serves(struct vly_core *core, unsigned place, bool *settled)
{
	struct vly_port *port = vly_engine_port(core->engine, core->index, place - VLY_CORES_MAX);
	uint32_t state = atomic_load_explicit(&port->state, memory_order_acquire);

	*settled = true;
	if (state == VLY_PORT_OPEN)
		return true;
	if (state == VLY_PORT_CLOSING && core->mail.taken_count[place])
		*settled = false; /* the current batch still shows its slots */
	else if (state == VLY_PORT_CLOSING)
		port_gone(core, port);
	return false;
}

/*
 * Serves the rings named by `bits` of a word. False: the batch is full, and mail->turn says who
 * comes first next time.
 */
static bool collect_word(struct vly_core *core, unsigned word, uint64_t bits, uint32_t batch_max)
{
	struct vly_mail *mail = &core->mail;

	for (; bits; bits &= bits - 1) {
		unsigned place = word * 64 + (unsigned)__builtin_ctzll(bits);
		bool settled = true;

		if (core->env.batch.count >= batch_max) {
			mail->turn = place;
			return false;
		}
		if (word != VLY_PORT_WORD || port_serves(core, place, &settled))
			settled = collect_ring(core, place, batch_max);
		if (settled)
			mail->waiting[word] &= ~(bits & -bits);
	}
	return true;
}

void vly_mail_collect(struct vly_core *core, uint32_t batch_max)
{
	struct vly_mail *mail = &core->mail;
	unsigned first = mail->turn / 64;
	uint64_t late = (1ull << (mail->turn % 64)) - 1; /* served last: those before the turn */
	bool room = true;
	uint64_t any = 0;

	for (unsigned word = 0; word < VLY_INBOX_WORDS; word++) {
		/* pairs with vly_engine_notify(): the rings' contents come with the bits */
		if (atomic_load_explicit(&mail->box->inbox[word], memory_order_relaxed))
			mail->waiting[word] |= atomic_exchange_explicit(&mail->box->inbox[word], 0,
									memory_order_seq_cst);
		any |= mail->waiting[word];
	}
	/* Before the mail: few, and mail without end must not keep them waiting. */
	if (vly_unlikely(mail->any_blocked))
		collect_drained(core, batch_max);
	if (vly_likely(!any))
		return;
	for (unsigned i = 0; i <= VLY_INBOX_WORDS && room; i++) {
		unsigned word = (first + i) % VLY_INBOX_WORDS;
		uint64_t mask = i == 0 ? ~late : i == VLY_INBOX_WORDS ? late : ~0ull;

		if (mail->waiting[word] & mask)
			room = collect_word(core, word, mail->waiting[word] & mask, batch_max);
	}
}

void vly_mail_recycle(struct vly_core *core)
{
	struct vly_mail *mail = &core->mail;

	if (vly_likely(!mail->any_taken))
		return;
	mail->any_taken = 0;
	for (unsigned word = 0; word < VLY_INBOX_WORDS; word++) {
		for (; mail->taken[word]; mail->taken[word] &= mail->taken[word] - 1) {
			unsigned place = word * 64 + (unsigned)__builtin_ctzll(mail->taken[word]);
			bool unblocks = vly_ring_release_unblocks(ring_from(core, place),
								  mail->taken_count[place]);

			mail->taken_count[place] = 0;
			if (!unblocks)
				continue;
			/*
			 * The sender is told that there is room: its own look at the ring does the
			 * rest.
			 */
			if (place >= VLY_CORES_MAX)
				notify(core, place, true);
			else if (vly_engine_claim_sleeper(core->engine, place))
				wake_core(core, place, true);
		}
	}
}

static bool anything_new(struct vly_core *core)
{
	struct vly_mail *mail = &core->mail;

	if (atomic_load_explicit(&mail->box->woken, memory_order_seq_cst))
		return true;
	for (unsigned word = 0; word < VLY_INBOX_WORDS; word++) {
		if (mail->waiting[word] ||
		    atomic_load_explicit(&mail->box->inbox[word], memory_order_seq_cst))
			return true;
		for (uint64_t bits = mail->any_blocked ? mail->blocked[word] : 0; bits;
		     bits &= bits - 1) {
			if (!vly_ring_block(
				    ring_to(core, word * 64 + (unsigned)__builtin_ctzll(bits))))
				return true;
		}
	}
	return false;
}

bool vly_mail_arm_sleep(struct vly_core *core)
{
	atomic_store_explicit(&core->mail.box->sleeping, true, memory_order_seq_cst);
	if (vly_likely(!anything_new(core)))
		return true;
	vly_mail_disarm_sleep(core);
	return false;
}

void vly_mail_disarm_sleep(struct vly_core *core)
{
	/* relaxed: a sender that still sees it set rings a bell too many */
	atomic_store_explicit(&core->mail.box->sleeping, false, memory_order_relaxed);
}

void vly_mail_fini(struct vly_core *core)
{
	vly_mail_recycle(core);
	for (unsigned i = 0; i < core->config->ports_max; i++) {
		struct vly_port *port = vly_engine_port(core->engine, core->index, i);

		if (atomic_load_explicit(&port->state, memory_order_acquire) == VLY_PORT_OPEN)
			vly_mail_ring_bell(port->wake_fd);
	}
}
