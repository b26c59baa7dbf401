/* options.h - the arguments of Engine() */
#ifndef PYSHIM_OPTIONS_H
#define PYSHIM_OPTIONS_H

#include "pyshim/engine.h"

/* Reads Engine()'s arguments. 0; or -1 with TypeError or ValueError that names the argument. */
int options_parse(struct engine *engine, PyObject *args, PyObject *kwargs);

/* What a keyword argument has to be. */
struct option_type {
	const char *name; /* NULL ends a table */
	char type;        /* 's' str, 'i' int, 'f' float or int */
};

/* CPython's parser names the place of a wrong argument, not its name. 0, or -1 with TypeError. */
int options_check_types(PyObject *kwargs, const struct option_type *types);

#endif
