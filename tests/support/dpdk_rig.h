/* dpdk_rig.h - what tests of the wire dpdk share: whether this build has it, and the last lines of the log */
#ifndef VLY_TESTS_SUPPORT_DPDK_RIG_H
#define VLY_TESTS_SUPPORT_DPDK_RIG_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "nic/inet/wire_dpdk.h"

/* The last error and the last information. */
static char said[512], told[512];

static inline void listen_to(enum vly_log_level level, const char *line, void *arg)
{
	(void)arg;
	if (level == VLY_LOG_ERROR)
		snprintf(said, sizeof(said), "%s", line);
	if (level == VLY_LOG_INFO)
		snprintf(told, sizeof(told), "%s", line);
}

/* Whether this build has the plugin; else the test is skipped. */
static inline void need_dpdk(void)
{
	struct vly_nic_spec spec;
	char why[512];

	cr_assert_eq(vly_spec_parse(&spec, "inet:dpdk,port=0", why, sizeof(why)), 0);
	if (vly_wire_dpdk.check(&spec, NULL, why, sizeof(why)) == -ENOTSUP)
		cr_skip_test("%s", why);
	vly_log_set(listen_to, NULL, VLY_LOG_INFO);
}

#endif
