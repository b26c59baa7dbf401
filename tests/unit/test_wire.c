/* test_wire.c - what is known of a wire before it is open */
#include "nic/inet/wire.h"

#include <stdio.h>

#include <criterion/criterion.h>

#include "engine/core.h"
#include "engine/engine.h"
#include "nic/inet/stack.h"
#include "tests/support/leak.h"
#include "volley/loop.h"

TestSuite(wire, .fini = vly_leak_gate);

/* The mtu of an engine's wire, which must open. */
static uint32_t mtu_of_engine(const char *nic)
{
	struct vly_engine *engine;
	struct vly_core *core;
	struct vly_config config;

	vly_config_init(&config);
	config.nic = nic;
	config.pin = false;
	config.conns_max = 16;
	config.huge_pages = false;
	config.lock_memory = false;
	cr_assert_eq(vly_engine_open(&config, &engine), 0, "%s", nic);
	cr_assert_eq(vly_core_open(engine, 0, &core), 0, "%s", nic);
	uint32_t mtu = vly_inet_of(core->nic)->wire->mtu;

	vly_core_close(core);
	vly_engine_close(engine);
	return mtu;
}

Test(wire, an_engine_takes_the_mtu_that_a_loop_was_made_for)
{
	static const uint32_t mtus[] = {576, 1500, 1501, 9000, 9216};
	static const char *const wraps[] = {"", "impair,", "pcap,"};
	char nic[160];

	for (size_t i = 0; i < sizeof(mtus) / sizeof(mtus[0]); i++) {
		int fd = vly_loop_make(&(struct vly_loop_opts){.mtu = mtus[i]});

		cr_assert_geq(fd, 0);
		for (size_t j = 0; j < sizeof(wraps) / sizeof(wraps[0]); j++) {
			snprintf(nic, sizeof(nic), "inet:%sloop,fd=%d,side=0,ip=10.0.0.1/24%s",
				 wraps[j], fd, j == 2 ? ",file=/dev/null" : "");
			cr_assert_eq(mtu_of_engine(nic), mtus[i]);
		}
		snprintf(nic, sizeof(nic), "inet:loop,fd=%d,side=0,ip=10.0.0.1/24,mtu=576", fd);
		cr_assert_eq(mtu_of_engine(nic), 576);
		vly_loop_close(fd);
	}
}
