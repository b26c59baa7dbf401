/* test_mail.c - mail between cores: copied, in order, bounded, DRAINED when there is room again */
#include "tests/contract/harness.h"

TestSuite(mail, .fini = vly_leak_gate, .timeout = 120);

static void open_cores(struct world *w, unsigned cores, uint32_t mail_slots, uint32_t mail_bytes)
{
	struct vly_config config;

	world_config(&config, cores);
	config.mail_slots = mail_slots;
	config.mail_bytes = mail_bytes;
	config.conns_max = 8;
	world_open_config(w, &config);
}

/* The number-th record of a kind at a core; NULL if there are fewer. */
static struct record *find(struct world *w, unsigned core, enum vly_kind kind, unsigned number)
{
	for (size_t i = 0; i < w->tracks.records_count; i++) {
		struct record *record = &w->tracks.records[i];

		if (record->core == core && record->event.kind == kind && !number--)
			return record;
	}
	return NULL;
}

Test(mail, carries_its_bytes_and_its_sender)
{
	struct world w;
	struct record *record;
	char text[] = "hello";

	open_cores(&w, 2, 64, 56);
	check_eq(vly_mail(w.core[1], 0, text, 5), 0);
	memset(text, 'x', 5);
	pump_until(&w, w.tracks.count[VLY_MAIL]);
	record = find(&w, 0, VLY_MAIL, 0);
	cr_assert_not_null(record);
	check_eq(record->event.aux, 1);
	check_eq(record->event.len, 5);
	check_eq(record->event.conn, 0);
	check_eq(record->event.flags & VLY_FROM_PORT, 0);
	cr_assert(!memcmp(record->bytes, "hello", 5));
	world_close(&w);
}

Test(mail, of_no_bytes_and_of_mail_bytes_is_carried_and_one_more_is_emsgsize)
{
	const uint32_t limits[] = {1, 56, 200, 1024};

	for (int i = 0; i < 4; i++) {
		struct world w;
		uint8_t data[1025];

		pattern_fill(data, sizeof(data), 3, 0);
		open_cores(&w, 2, 8, limits[i]);
		check_eq(vly_mail(w.core[1], 0, data, limits[i] + 1), -EMSGSIZE);
		check_eq(vly_mail(w.core[1], 0, NULL, 0), 0);
		check_eq(vly_mail(w.core[1], 0, data, limits[i]), 0);
		check_eq(vly_mail(w.core[1], 0, data, limits[i] - 1), 0);
		pump_until(&w, w.tracks.count[VLY_MAIL] == 3);
		check_eq(find(&w, 0, VLY_MAIL, 0)->event.len, 0);
		check_eq(find(&w, 0, VLY_MAIL, 1)->event.len, limits[i]);
		check_eq(find(&w, 0, VLY_MAIL, 2)->event.len, limits[i] - 1);
		cr_assert(pattern_is(find(&w, 0, VLY_MAIL, 1)->bytes,
				     limits[i] < 64 ? limits[i] : 64, 3, 0));
		world_close(&w);
	}
}

Test(mail, to_a_core_that_does_not_exist_is_enoent)
{
	struct world w;

	open_cores(&w, 2, 8, 56);
	check_eq(vly_mail(w.core[0], 2, "x", 1), -ENOENT);
	check_eq(vly_mail(w.core[0], UINT32_MAX, "x", 1), -ENOENT);
	world_close(&w);
}

Test(mail, to_oneself_arrives)
{
	struct world w;

	open_cores(&w, 1, 8, 56);
	for (unsigned i = 0; i < 100; i++) {
		check_eq(vly_mail(w.core[0], 0, &i, sizeof(i)), 0);
		/* Nothing else could end this wait. */
		while (w.tracks.count[VLY_MAIL] == i)
			world_poll(&w, 0, -1);
		check_eq(find(&w, 0, VLY_MAIL, i)->event.aux, 0);
		cr_assert(!memcmp(find(&w, 0, VLY_MAIL, i)->bytes, &i, sizeof(i)));
	}
	world_close(&w);
}

Test(mail, to_oneself_beyond_the_ring_is_eagain_and_drained_follows)
{
	struct world w;
	struct record *drained;
	unsigned taken = 0;

	open_cores(&w, 1, 8, 56);
	while (!vly_mail(w.core[0], 0, "x", 1))
		cr_assert(++taken <= 8);
	check_eq(vly_mail(w.core[0], 0, "x", 1), -EAGAIN);
	pump_until(&w, w.tracks.count[VLY_MAIL] == taken && w.tracks.count[VLY_DRAINED]);
	drained = find(&w, 0, VLY_DRAINED, 0);
	check_eq(drained->event.aux, 0);
	check_eq(drained->event.conn, 0);
	world_quiet(&w);
	check_eq(w.tracks.count[VLY_DRAINED], 1);
	check_eq(vly_mail(w.core[0], 0, "x", 1), 0);
	world_close(&w);
}

Test(mail, beyond_the_ring_is_eagain_and_one_drained_names_the_core)
{
	struct world w;
	unsigned total = 0;

	open_cores(&w, 4, 16, 56);
	for (unsigned spell = 1; spell <= 20; spell++) {
		unsigned taken = 0, to = spell % 3 + 1;
		struct record *drained;

		while (!vly_mail(w.core[0], to, &total, sizeof(total))) {
			total++;
			cr_assert(++taken <= 16);
		}
		check_eq(taken, 16);
		check_eq(vly_mail(w.core[0], to, "x", 1), -EAGAIN);
		/* The other rings are not touched by it. */
		check_eq(vly_mail(w.core[0], to % 3 + 1, "y", 1), 0);
		total++;
		pump_until(&w, w.tracks.count[VLY_DRAINED] == spell);
		drained = find(&w, 0, VLY_DRAINED, spell - 1);
		cr_assert_not_null(drained);
		check_eq(drained->event.aux, to);
		check_eq(drained->event.conn, 0);
		check_eq(drained->event.flags & VLY_FROM_PORT, 0);
		check_eq(vly_mail(w.core[0], to, "z", 1), 0);
		total++;
		world_quiet(&w);
		check_eq(w.tracks.count[VLY_DRAINED], spell);
		check_eq(w.tracks.count[VLY_MAIL], total);
	}
	check_at_least(world_stats(&w, 0).mail_blocked, 20);
	world_close(&w);
}

Test(mail, refused_once_fails_until_its_drained)
{
	struct world w;

	open_cores(&w, 2, 8, 56);
	while (!vly_mail(w.core[0], 1, "x", 1))
		;
	/* The receiver makes room, but the sender has not been told. */
	while (w.tracks.count[VLY_MAIL] < 8)
		world_poll(&w, 1, 0);
	world_poll(&w, 1, 0);
	check_eq(vly_mail(w.core[0], 1, "y", 1), -EAGAIN);
	world_poll(&w, 0, 0);
	check_eq(w.tracks.count[VLY_DRAINED], 1);
	check_eq(vly_mail(w.core[0], 1, "y", 1), 0);
	world_close(&w);
}

/* Numbers received so far, by receiver and sender. */
static void in_order(struct world *w, unsigned core, struct vly_event *event)
{
	unsigned(*next)[16] = w->arg;
	unsigned number;

	if (event->kind != VLY_MAIL)
		return;
	check_eq(event->len, sizeof(number));
	memcpy(&number, event->data, sizeof(number));
	check_eq(number, next[core][event->aux]);
	next[core][event->aux]++;
}

static void every_pair(unsigned cores, unsigned each)
{
	static unsigned next[16][16], sent[16][16];
	struct world w;
	unsigned done = 0;

	open_cores(&w, cores, 32, 56);
	w.tracks.keep_records = false;
	w.arg = next;
	w.on_event = in_order;
	while (done < cores * cores) {
		done = 0;
		for (unsigned from = 0; from < cores; from++) {
			for (unsigned to = 0; to < cores; to++) {
				unsigned *number = &sent[from][to];

				while (*number < each &&
				       !vly_mail(w.core[from], to, number, sizeof(*number)))
					++*number;
				done += *number == each;
			}
		}
		world_round(&w);
	}
	pump_until(&w, w.tracks.count[VLY_MAIL] == (uint64_t)cores * cores * each);
	for (unsigned from = 0; from < cores; from++)
		for (unsigned to = 0; to < cores; to++)
			check_eq(next[to][from], each);
	for (unsigned i = 0; i < cores; i++) {
		check_eq(world_stats(&w, i).mail_rx, cores * each);
		check_eq(world_stats(&w, i).mail_tx, cores * each);
	}
	world_close(&w);
}

Test(mail, between_every_pair_of_4_cores_stays_in_order)
{
	every_pair(4, 2000);
}

Test(mail, between_every_pair_of_16_cores_stays_in_order)
{
	every_pair(16, 200);
}

static void reply(struct world *w, unsigned core, struct vly_event *event)
{
	if (event->kind == VLY_MAIL && core == SERVER)
		check_eq(vly_mail(w->core[core], event->aux, event->data, event->len), 0);
}

Test(mail, may_be_sent_from_the_data_of_mail)
{
	struct world w;

	open_cores(&w, 2, 8, 56);
	w.on_event = reply;
	check_eq(vly_mail(w.core[CLIENT], SERVER, "echo", 4), 0);
	pump_until(&w, find(&w, CLIENT, VLY_MAIL, 0));
	cr_assert(!memcmp(find(&w, CLIENT, VLY_MAIL, 0)->bytes, "echo", 4));
	world_close(&w);
}

static void handle_by_mail(struct world *w, unsigned core, struct vly_event *event)
{
	vly_conn conn;

	if (event->kind == VLY_DATA && core == SERVER) {
		check_eq(vly_mail(w->core[core], CLIENT, &event->conn, sizeof(event->conn)), 0);
	} else if (event->kind == VLY_MAIL && core == CLIENT) {
		memcpy(&conn, event->data, sizeof(conn));
		check_eq(vly_send(w->core[core], conn, "x", 1), -EXDEV);
		check_eq(vly_mail(w->core[core], vly_conn_core(conn), &conn, sizeof(conn)), 0);
	} else if (event->kind == VLY_MAIL && core == SERVER) {
		memcpy(&conn, event->data, sizeof(conn));
		check_eq(vly_send(w->core[core], conn, "answer", 6), 0);
	}
}

Test(mail, carries_a_handle_home_to_its_core)
{
	struct world w;
	struct link link = world_open_link(&w);

	w.on_event = handle_by_mail;
	check_eq(vly_send(w.core[CLIENT], link.client, "question", 8), 0);
	pump_until(&w, got_text(&w, link.client, "answer"));
	world_close(&w);
}
