/* test_mail.c - the rings between cores, from inside */
#include "engine/mail.h"

#include "tests/support/rig.h"

TestSuite(mail, .fini = vly_leak_gate, .timeout = 60);

static void open_cores(struct rig *rig, unsigned cores, uint32_t mail_slots)
{
	struct vly_config config;

	rig_config(&config);
	config.cores = cores;
	config.conns_max = 4;
	config.events_max = 16;
	config.mail_slots = mail_slots;
	rig_open(rig, &config);
}

static int post(struct rig *rig, unsigned from, unsigned to, uint32_t number)
{
	return vly_mail(rig->core[from], to, &number, sizeof(number));
}

/* One poll of a core without waiting: numbers by sender, at `next`; returns the events. */
static int take(struct rig *rig, unsigned core, uint32_t *next, unsigned *drained)
{
	struct vly_event *events;
	int count = vly_poll(rig->core[core], &events, 0);

	for (int i = 0; i < count; i++) {
		uint32_t number;

		if (events[i].kind == VLY_DRAINED) {
			cr_assert_eq(events[i].conn, 0);
			*drained += 1;
			continue;
		}
		cr_assert_eq(events[i].kind, VLY_MAIL);
		cr_assert_eq(events[i].len, sizeof(number));
		memcpy(&number, events[i].data, sizeof(number));
		cr_assert_eq(number, next[events[i].aux]++, "mail of core %u out of order",
			     events[i].aux);
	}
	return count;
}

Test(mail, is_shown_in_batches_of_16_or_at_the_next_poll)
{
	uint32_t next[2] = {0};
	unsigned drained = 0;
	struct rig rig;

	open_cores(&rig, 2, 64);
	struct vly_ring *ring = vly_engine_ring(rig.engine, 0, 1);

	for (uint32_t i = 0; i < VLY_MAIL_BATCH - 1; i++)
		cr_assert_eq(post(&rig, 0, 1, i), 0);
	cr_assert_eq(vly_ring_count(ring), 0);
	cr_assert_eq(take(&rig, 1, next, &drained), 0);
	cr_assert_eq(post(&rig, 0, 1, VLY_MAIL_BATCH - 1), 0);
	cr_assert_eq(vly_ring_count(ring), VLY_MAIL_BATCH);
	cr_assert_eq(post(&rig, 0, 1, VLY_MAIL_BATCH), 0);
	cr_assert_eq(vly_ring_count(ring), VLY_MAIL_BATCH);
	cr_assert_eq(vly_flush(rig.core[0]), 0);
	cr_assert_eq(vly_ring_count(ring), VLY_MAIL_BATCH + 1);
	cr_assert_eq(take(&rig, 1, next, &drained), 12, "three quarters of a batch");
	cr_assert_eq(take(&rig, 1, next, &drained), 5);
	rig_close(&rig);
}

Test(mail, slots_stay_the_receivers_until_its_next_poll)
{
	uint32_t next[2] = {0};
	unsigned drained = 0;
	struct rig rig;

	open_cores(&rig, 2, 4);
	struct vly_ring *ring = vly_engine_ring(rig.engine, 0, 1);

	for (uint32_t i = 0; i < 4; i++)
		cr_assert_eq(post(&rig, 0, 1, i), 0);
	cr_assert_eq(vly_flush(rig.core[0]), 0);
	cr_assert_eq(take(&rig, 1, next, &drained), 4);
	cr_assert_eq(vly_ring_count(ring), 4);
	cr_assert_eq(post(&rig, 0, 1, 4), -EAGAIN);
	cr_assert_eq(take(&rig, 1, next, &drained), 0);
	cr_assert_eq(vly_ring_count(ring), 0);
	rig_close(&rig);
}

Test(mail, full_ring_is_blocked_until_its_one_drained)
{
	uint32_t next[2] = {0};
	unsigned drained = 0, none = 0;
	struct rig rig;

	open_cores(&rig, 2, 8);
	for (uint32_t i = 0; i < 8; i++)
		cr_assert_eq(post(&rig, 0, 1, i), 0);
	cr_assert_eq(post(&rig, 0, 1, 8), -EAGAIN);
	cr_assert_eq(post(&rig, 0, 1, 8), -EAGAIN);
	cr_assert_eq(rig.core[0]->env.stats->mail_blocked, 1, "one spell");
	cr_assert_eq(take(&rig, 0, next, &drained), 0);
	cr_assert_eq(drained, 0);
	cr_assert_eq(take(&rig, 1, next, &none), 8);
	cr_assert_eq(take(&rig, 1, next, &none), 0);
	cr_assert_eq(post(&rig, 0, 1, 8), -EAGAIN, "DRAINED was not seen yet");
	cr_assert_eq(take(&rig, 0, next, &drained), 1);
	cr_assert_eq(drained, 1);
	for (int polls = 0; polls < 5; polls++)
		cr_assert_eq(take(&rig, 0, next, &drained), 0);
	cr_assert_eq(post(&rig, 0, 1, 8), 0);
	rig_close(&rig);
}

Test(mail, no_sender_of_20_starves_when_every_batch_is_full)
{
	uint32_t next[RIG_CORES] = {0}, sent[RIG_CORES] = {0};
	unsigned drained = 0;
	struct rig rig;

	open_cores(&rig, 20, 16);
	for (int round = 0; round < 200; round++) {
		for (unsigned from = 1; from < 20; from++) {
			uint32_t ignored[RIG_CORES] = {0};

			while (post(&rig, from, 0, sent[from]) == 0)
				sent[from]++;
			take(&rig, from, ignored, &drained);
		}
		cr_assert_eq(take(&rig, 0, next, &drained), 12);
	}
	for (unsigned from = 1; from < 20; from++)
		cr_assert_geq(next[from], 200 * 12 / 19 / 2, "core %u got %u", from, next[from]);
	rig_close(&rig);
}

/* Mail without end must not keep a sender's own DRAINED from it. */
Test(mail, drained_comes_beside_mail_without_end)
{
	uint32_t next[3] = {0}, none[3] = {0}, flood = 0;
	unsigned drained = 0, ignored = 0;
	struct rig rig;

	open_cores(&rig, 3, 64);
	for (uint32_t i = 0; post(&rig, 0, 1, i) == 0; i++)
		;
	for (int round = 0; round < 200 && !drained; round++) {
		while (post(&rig, 2, 0, flood) == 0)
			flood++;
		take(&rig, 2, none, &ignored);
		take(&rig, 1, none, &ignored);
		take(&rig, 0, next, &drained);
	}
	cr_assert_eq(drained, 1, "200 batches of mail");
	rig_close(&rig);
}

Test(mail, no_bell_is_rung_for_a_core_that_is_awake)
{
	struct rig rig;
	uint64_t rung;

	open_cores(&rig, 2, 64);
	int bell = rig.core[1]->mail.box->wake_fd;

	cr_assert_eq(post(&rig, 0, 1, 0), 0);
	cr_assert_eq(vly_flush(rig.core[0]), 0);
	cr_assert_eq(read(bell, &rung, sizeof(rung)), -1);
	rig_spin(&rig, 1);
	cr_assert_not(vly_mail_arm_sleep(rig.core[1]), "something has come already");
	cr_assert_not(atomic_load(&rig.core[1]->mail.box->sleeping));
	rig_close(&rig);
}

Test(mail, sleeper_is_rung_once_for_any_number_of_senders)
{
	struct rig rig;
	uint64_t rung;

	open_cores(&rig, 4, 64);
	int bell = rig.core[0]->mail.box->wake_fd;

	cr_assert(vly_mail_arm_sleep(rig.core[0]));
	for (unsigned from = 1; from < 4; from++) {
		cr_assert_eq(post(&rig, from, 0, 0), 0);
		cr_assert_eq(vly_flush(rig.core[from]), 0);
	}
	cr_assert_eq(read(bell, &rung, sizeof(rung)), (ssize_t)sizeof(rung));
	cr_assert_eq(rung, 1);
	rig_close(&rig);
}
