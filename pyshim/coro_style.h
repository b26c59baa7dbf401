/* coro_style.h - coroutines that await their connection, resumed by completions: the Conn type */
#ifndef PYSHIM_CORO_STYLE_H
#define PYSHIM_CORO_STYLE_H

#include "pyshim/transport.h"

/* What recv() and drain() return: awaited once, by the connection's own coroutine. */
extern PyType_Spec awaitable_spec;

/* A coroutine's wake-up by a foreign Future, on the engine's thread. */
void coro_step(struct transport *transport);

#endif
