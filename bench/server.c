/* server.c - the bench's end of a supervised server under test */
#include "bench/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "bench/child.h"

#define HELLO_PATIENCE_NS INT64_C(5000000000)
#define STOP_PATIENCE_NS INT64_C(6000000000)

static void fail(struct server *server, const char *reason)
{
	/* The first reason is the cause of the others. */
	if (!server->failed)
		snprintf(server->reason, sizeof(server->reason), "%s", reason);
	server->failed = true;
}

static json_t *cpus_to_array(const struct cpus *cpus)
{
	json_t *array = json_array();

	for (unsigned int i = 0; array && i < cpus->count; i++)
		json_array_append_new(array, json_integer(cpus->list[i]));
	return array;
}

int server_start(struct server *server, const struct words *words, const struct cpus *cpus,
		 int64_t ready_timeout_ns, bool count_syscalls)
{
	char why[256];
	int fd;

	memset(server, 0, sizeof(*server));
	server->control.fd = -1;
	/* SIGTERM: it shall kill the server's descendants before it ends itself. */
	int err = child_spawn_self("supervise", SIGTERM, &server->supervisor, &fd);
	if (err) {
		server->supervisor = 0;
		snprintf(why, sizeof(why), "cannot start the supervisor: %s", strerror(-err));
		fail(server, why);
		return err;
	}
	control_init(&server->control, fd);
	err = control_hello(&server->control, "bench", NULL, 0, HELLO_PATIENCE_NS, why,
			    sizeof(why));
	if (err) {
		fail(server, why);
		return err;
	}
	json_t *argv = words_to_json(words);
	if (!argv) {
		fail(server, "the command line is not UTF-8");
		return -EINVAL;
	}
	err = control_send(&server->control,
			   json_pack("{s:s, s:o, s:o, s:I, s:b}", "type", "start", "argv", argv,
				     "cpus", cpus_to_array(cpus), "ready_timeout_ns",
				     (json_int_t)ready_timeout_ns, "count_syscalls",
				     (int)count_syscalls));
	if (err)
		fail(server, "the supervisor died");
	return err;
}

static void send_or_close(struct server *server, json_t *message)
{
	if (server->control.fd < 0)
		json_decref(message);
	else if (control_send(&server->control, message))
		control_fini(&server->control);
}

void server_pause(struct server *server, bool surely)
{
	send_or_close(server, json_pack("{s:s, s:b}", "type", "pause", "surely", (int)surely));
}

void server_go_on(struct server *server)
{
	send_or_close(server, json_pack("{s:s}", "type", "go on"));
}

void server_ask_sample(struct server *server, bool at_end)
{
	send_or_close(server,
		      json_pack("{s:s, s:s}", "type", "sample", "id", at_end ? "end" : "begin"));
}

static void handle_sample(struct server *server, const json_t *message)
{
	bool at_end = strcmp(control_text(message, "id", ""), "end") == 0;

	sample_from_json(message, at_end ? &server->after : &server->before);
	if (server->relay)
		server->relay(message, server->relay_arg);
}

static void handle_message(struct server *server, const json_t *message)
{
	const char *type = control_type(message);
	char reason[sizeof(server->reason)];

	if (strcmp(type, "ready") == 0) {
		server->ready = true;
		server->port = (uint16_t)control_int(message, "port", 0);
	} else if (strcmp(type, "sample") == 0) {
		handle_sample(server, message);
	} else if (strcmp(type, "failed") == 0) {
		/* What is said of perf is not said of the server. */
		snprintf(reason, sizeof(reason), "%s%s",
			 json_is_true(json_object_get(message, "perf")) ? "" : "the server ",
			 control_text(message, "reason", "failed"));
		fail(server, reason);
	} else if (strcmp(type, "exited") == 0) {
		const char *words = control_text(message, "last_words", "");
		snprintf(reason, sizeof(reason), "the server ended %s: %s%s%.200s",
			 json_is_true(json_object_get(message, "ready")) ? "during the run"
									 : "before READY",
			 control_text(message, "text", "?"), *words ? "; its last line: " : "",
			 words);
		fail(server, reason);
	}
}

void server_handle(struct server *server)
{
	json_t *message;
	int got = 0;

	while (server->control.fd >= 0 &&
	       (got = control_receive(&server->control, &message, 0)) == 1) {
		handle_message(server, message);
		json_decref(message);
	}
	if (server->control.fd >= 0 && got < 0 && got != -EINTR) {
		if (server->supervisor)
			fail(server, "the supervisor of the server died");
		control_fini(&server->control);
	}
}

void server_stop(struct server *server, char *text, size_t text_bytes)
{
	json_t *message = NULL;

	if (server->control.fd >= 0 && server->supervisor &&
	    control_send(&server->control, json_pack("{s:s}", "type", "stop")) == 0) {
		while (control_receive(&server->control, &message, STOP_PATIENCE_NS) == 1) {
			int stopped = strcmp(control_type(message), "stopped") == 0;
			if (stopped) {
				server->total = total_parse(control_text(message, "last_line", ""));
				syscalls_from_json(json_object_get(message, "syscalls"),
						   &server->syscalls);
			}
			if (stopped && text)
				snprintf(text, text_bytes, "%s", control_text(message, "text", ""));
			json_decref(message);
			if (stopped)
				break;
		}
	}
	control_fini(&server->control);
	if (server->supervisor)
		(void)child_wait(server->supervisor, STOP_PATIENCE_NS);
	server->supervisor = 0;
}
