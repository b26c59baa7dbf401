/* app_over.c - the end of a simulation's applications: who is done, who is taken down, what must hold */
#include <stdio.h>

#include "tests/sim/app.h"

static bool end_done(const struct app_end *end)
{
	const struct app_end *peer = &end->link->end[end == &end->link->end[0]];

	/* Nobody accepts what never came. */
	return end->stage == APP_OVER || (end->stage == APP_IDLE && peer->stage == APP_OVER);
}

bool app_done(const struct app *app)
{
	for (unsigned i = 0; i < app->links_count; i++) {
		const struct app_link *link = &app->links[i];

		if (!link->started || !end_done(&link->end[0]) || !end_done(&link->end[1]))
			return false;
	}
	return app->chores == 0 && app->stillborn == 0;
}

const char *app_unfinished(const struct app *app)
{
	static char text[256];

	for (unsigned i = 0; i < app->links_count; i++) {
		const struct app_link *link = &app->links[i];

		for (unsigned side = 0; link->started && side < 2; side++) {
			const struct app_end *end = &link->end[side];

			if (end_done(end))
				continue;
			snprintf(
				text, sizeof(text),
				"link %u, end %u on host %u, port %u: stage %d, sent %llu of %llu, "
				"received %llu%s%s%s%s%s",
				i, side, end->host, link->port[side], end->stage,
				(unsigned long long)end->sent, (unsigned long long)end->plan.bytes,
				(unsigned long long)end->received, end->eof ? ", EOF" : "",
				end->shut ? ", shut" : "", end->closed ? ", closed" : "",
				end->blocked ? ", blocked" : "", end->paused ? ", paused" : "");
			return text;
		}
	}
	return app->chores ? "a timer" : "nothing";
}

void app_abort_orphans(struct app *app, uint64_t now_ns, uint64_t patience_ns)
{
	for (unsigned i = 0; i < app->links_count; i++) {
		for (unsigned side = 0; app->links[i].started && side < 2; side++) {
			struct app_end *end = &app->links[i].end[side];
			const struct app_end *peer = end->peer;
			bool gone = peer->stage == APP_OVER && (peer->aborted || peer->status);

			if (end->stage != APP_OPENED || end->aborted || end->gone ||
			    now_ns - end->changed_ns < patience_ns)
				continue;
			if (!gone && (app->gentle || peer->stage != APP_IDLE))
				continue;
			(void)vly_abort(app->hosts->core[end->host], end->conn);
			end->aborted = true;
			app->hosts->touched[end->host] = true;
		}
	}
}

void app_abort_all(struct app *app)
{
	for (unsigned i = 0; i < app->links_count; i++) {
		for (unsigned side = 0; app->links[i].started && side < 2; side++) {
			struct app_end *end = &app->links[i].end[side];

			if ((end->stage != APP_OPENING && end->stage != APP_OPENED) || end->aborted)
				continue;
			(void)vly_abort(app->hosts->core[end->host], end->conn);
			end->aborted = true;
			app->hosts->touched[end->host] = true;
		}
	}
}

void app_check_end(const struct app *app)
{
	must(app->holds == 0, "%u slices are still held", app->holds);
	for (unsigned i = 0; i < app->links_count; i++) {
		for (unsigned side = 0; side < 2; side++) {
			const struct app_end *end = &app->links[i].end[side];

			claim(end, end->owned == 0, "%u SENT never came", end->owned);
			if (end->stage != APP_OVER || end->status || !end->eof)
				continue;
			claim(end, end->received == end->peer->sent, "received %llu of %llu",
			      (unsigned long long)end->received,
			      (unsigned long long)end->peer->sent);
		}
	}
}
