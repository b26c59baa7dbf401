/* log.h - one formatted line to the application's log callback */
#ifndef VLY_BASE_LOG_H
#define VLY_BASE_LOG_H

#include "volley/log.h"

/*
 * Formats one line (at most 512 bytes, cut beyond) and hands it to the callback. Never called per
 * message.
 */
__attribute__((format(printf, 2, 3), cold)) void vly_log(enum vly_log_level level, const char *fmt,
							 ...);

#endif
