/* signals.c - signals end a sleep: Ctrl-C works without traffic */
#include "pyshim/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

int signals_open(struct engine *engine)
{
	int error;

	engine->signal_fds[0] = engine->signal_fds[1] = -1;
	if (engine->options.config.idle == VLY_IDLE_BUSY)
		return 0;
	if (pipe2(engine->signal_fds, O_NONBLOCK | O_CLOEXEC)) {
		engine->signal_fds[0] = engine->signal_fds[1] = -1;
		state_raise(-errno, "pipe");
		return -1;
	}
	error = engine->link->ops->watch(engine->link, engine->signal_fds[0], POLLIN,
					 (void *)(uintptr_t)TAG_SIGNAL, &engine->signal_conn);
	if (error == -EOPNOTSUPP) /* a source: sleeps are sliced */
		signals_close(engine);
	else if (error) {
		state_raise(error, "watch");
		return -1;
	}
	return 0;
}

/* signal.set_wakeup_fd(fd): the old one, or -2 with an exception. */
static int set_wakeup_fd(int fd)
{
	PyObject *module = PyImport_ImportModule("signal");
	PyObject *old = module ? PyObject_CallMethod(module, "set_wakeup_fd", "i", fd) : NULL;
	long old_fd = old ? PyLong_AsLong(old) : -2;

	Py_XDECREF(old);
	Py_XDECREF(module);
	return (int)old_fd;
}

void signals_close(struct engine *engine)
{
	if (engine->signals_taken && PyThread_get_thread_ident() == engine->state->main_thread) {
		int now_fd = set_wakeup_fd(-1);

		if (now_fd >= 0 && now_fd != engine->signal_fds[1])
			set_wakeup_fd(now_fd);
		PyErr_Clear();
	}
	engine->signals_taken = engine->signals_tried = false;
	for (int i = 0; i < 2; i++)
		if (engine->signal_fds[i] >= 0)
			close(engine->signal_fds[i]);
	engine->signal_fds[0] = engine->signal_fds[1] = -1;
}

int signals_prepare(struct engine *engine)
{
	if (engine->owner != engine->state->main_thread)
		return 0;
	if (!engine->signals_tried && engine->signal_fds[1] >= 0) {
		int old_fd = set_wakeup_fd(engine->signal_fds[1]);

		if (old_fd >= 0)
			old_fd = set_wakeup_fd(old_fd);
		if (old_fd == -2)
			return -1;
		engine->signals_taken = old_fd == -1;
		engine->signals_tried = true;
	}
	return 1;
}

void signals_seen(struct engine *engine)
{
	char bytes[64];

	while (read(engine->signal_fds[0], bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes))
		;
}
