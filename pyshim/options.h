/* options.h - the arguments of Engine() */
#ifndef PYSHIM_OPTIONS_H
#define PYSHIM_OPTIONS_H

#include "pyshim/engine.h"

/* Reads Engine()'s arguments. 0; or -1 with TypeError or ValueError that names the argument. */
int options_parse(struct engine *engine, PyObject *args, PyObject *kwargs);

#endif
