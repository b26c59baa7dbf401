/* check.c - always-on checks against corruption */
#include "base/check.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void vly_check_failed(const char *condition, const char *file, int line)
{
	const char *slash = strrchr(file, '/');

	/* The name alone: the builder's directories help nobody who reads the line. */
	vly_log(VLY_LOG_ERROR, "broken invariant: %s (%s:%d)", condition, slash ? slash + 1 : file,
		line);
	abort();
}
