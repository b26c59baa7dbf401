/* log.h - where the library's one-line messages go */
#ifndef VOLLEY_LOG_H
#define VOLLEY_LOG_H

#include "volley/api.h"

#ifdef __cplusplus
extern "C" {
#endif

enum vly_log_level {
	VLY_LOG_ERROR = 0, /* a call failed; the message names the limit and the way out */
	VLY_LOG_WARN = 1,  /* the engine runs, but with less than was asked for */
	VLY_LOG_INFO = 2,  /* what was chosen at start */
	VLY_LOG_DEBUG = 3,
};

/*
 * Receives one line without its newline. Called only while engines and cores open and close, never
 * from vly_poll; but for one line in an engine's life, should a port of several queues turn out not to
 * spread flows as it says.
 */
typedef void (*vly_log_fn)(enum vly_log_level level, const char *line, void *arg);

/*
 * Replaces the receiver of log lines (NULL: back to stderr, the default) and drops lines above
 * `level` (default VLY_LOG_WARN). Call it before the first engine opens.
 */
VLY_API void vly_log_set(vly_log_fn fn, void *arg, enum vly_log_level level);

#ifdef __cplusplus
}
#endif

#endif
