/* test_config.c - the limits of a config, and the memory that it plans */
#include "volley/config.h"

#include "tests/support/rig.h"

TestSuite(config, .fini = vly_leak_gate, .timeout = 60);

static int plan_of(const struct vly_config *config)
{
	struct vly_plan plan;

	return vly_config_plan(config, &plan);
}

static void quiet(void)
{
	vly_log_set(rig_swallow, NULL, VLY_LOG_ERROR);
}

/* Each field at its least and its most, and one beyond either. */
#define check_limits(field, least, most)                                                           \
	do {                                                                                       \
		const struct {                                                                     \
			long long value;                                                           \
			int want;                                                                  \
		} tries[] = {                                                                      \
			{(long long)(least)-1, -EINVAL},                                           \
			{(long long)(least), 0},                                                   \
			{(long long)(most), 0},                                                    \
			{(long long)(most) + 1, -EINVAL},                                          \
		};                                                                                 \
		for (int i = 0; i < 4; i++) {                                                      \
			struct vly_config config;                                                  \
			rig_config(&config);                                                       \
			config.field = (__typeof__(config.field))tries[i].value;                   \
			cr_expect_eq(plan_of(&config), tries[i].want, "%s = %lld", #field,         \
				     tries[i].value);                                              \
		}                                                                                  \
	} while (0)

Test(config, every_limit_holds_to_the_last_number)
{
	quiet();
	check_limits(cores, 1, 256);
	check_limits(conns_max, 1, (1 << 26) - 1);
	check_limits(timers_max, 1, 1 << 26);
	check_limits(events_max, 16, 65536);
	check_limits(burst_max, 1, 64); /* the events_max of rig_config() */
	check_limits(burst_bytes, 1, 1 << 30);
	check_limits(tx_bufs, 2, 1 << 24);
	check_limits(tx_buf_bytes, 64, 1 << 20);
	check_limits(tx_refs, 1, 1 << 24);
	check_limits(tx_budget, 1, 1 << 30);
	check_limits(rx_bufs, 4, 1 << 20);
	check_limits(hold_slots, 1, 1 << 24);
	check_limits(hold_bytes, 1, 65536);
	check_limits(mail_bytes, 1, 1 << 20);
	check_limits(backlog, 1, 1 << 30);
}

Test(config, limits_that_depend_on_each_other)
{
	struct vly_config config;

	quiet();
	rig_config(&config);
	config.ports_max = 0;
	cr_assert_eq(plan_of(&config), 0);
	config.ports_max = 64;
	cr_assert_eq(plan_of(&config), 0);
	config.ports_max = 65;
	cr_assert_eq(plan_of(&config), -EINVAL);
	rig_config(&config);
	config.dgram_max = config.rx_buf_bytes;
	cr_assert_eq(plan_of(&config), 0);
	config.dgram_max++;
	cr_assert_eq(plan_of(&config), -EINVAL);
	rig_config(&config);
	config.dgram_max = 0;
	for (config.rx_buf_bytes = 256; config.rx_buf_bytes <= 1 << 24; config.rx_buf_bytes *= 4)
		cr_assert_eq(plan_of(&config), 0, "%u", config.rx_buf_bytes);
	config.rx_buf_bytes = 255;
	cr_assert_eq(plan_of(&config), -EINVAL);
	config.rx_buf_bytes = (1 << 24) + 1;
	cr_assert_eq(plan_of(&config), -EINVAL);
}

Test(config, mail_slots_are_a_power_of_two_from_2_on)
{
	static const uint32_t good[] = {2, 4, 16, 1 << 20};
	static const uint32_t bad[] = {0, 1, 3, 6, 17, (1 << 20) - 1, 1 << 21, UINT32_MAX};
	struct vly_config config;

	quiet();
	rig_config(&config);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		config.mail_slots = good[i];
		cr_assert_eq(plan_of(&config), 0, "%u", good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		config.mail_slots = bad[i];
		cr_assert_eq(plan_of(&config), -EINVAL, "%u", bad[i]);
	}
}

Test(config, numbers_of_all_bits_are_einval)
{
	struct vly_config config;

	quiet();
	rig_config(&config);
	config.cores = UINT32_MAX;
	cr_assert_eq(plan_of(&config), -EINVAL);
	rig_config(&config);
	config.conns_max = UINT32_MAX;
	cr_assert_eq(plan_of(&config), -EINVAL);
	rig_config(&config);
	config.backlog = INT32_MIN;
	cr_assert_eq(plan_of(&config), -EINVAL);
	rig_config(&config);
	config.idle = (enum vly_idle)3;
	cr_assert_eq(plan_of(&config), -EINVAL);
	config.idle = VLY_IDLE_BUSY;
	cr_assert_eq(plan_of(&config), 0);
}

Test(config, defaults_are_valid_and_nics_unknown_are_named)
{
	struct vly_config config;
	char why[256];

	quiet();
	vly_config_init(&config);
	cr_assert_eq(plan_of(&config), 0);
	config.nic = "epol";
	cr_assert_eq(plan_of(&config), -EINVAL);
	cr_assert_eq(vly_nic_check("epol", why, sizeof(why)), -EINVAL);
	cr_assert(strstr(why, "epol") && strstr(why, "epoll"), "%s", why);
	cr_assert_eq(vly_nic_check("epoll:x=1", why, sizeof(why)), -EINVAL);
	cr_assert(strstr(why, "x"), "%s", why);
	cr_assert_eq(vly_nic_check("auto:x", why, sizeof(why)), -EINVAL);
	cr_assert_eq(vly_nic_check("auto", why, sizeof(why)), 0);
	cr_assert_eq(vly_nic_check(NULL, why, sizeof(why)), -EINVAL);
	cr_assert_eq(vly_nic_check("epol", NULL, 0), -EINVAL);
}

/* What vly_config_plan() says is what opening takes, and its sums are those of its items. */
static void check_plan(const struct vly_config *config)
{
	struct vly_plan plan;
	uint64_t core_bytes = 0;
	struct rig rig;

	quiet();
	cr_assert_eq(vly_config_plan(config, &plan), 0);
	cr_assert_leq(plan.items_count, VLY_PLAN_ITEMS);
	for (unsigned i = 0; i < plan.items_count; i++) {
		cr_assert_geq(plan.items[i].bytes, plan.items[i].count * plan.items[i].each_bytes);
		core_bytes += plan.items[i].bytes;
	}
	cr_assert_eq(plan.core_bytes, core_bytes);
	cr_assert_eq(plan.total_bytes, config->cores * plan.core_bytes + plan.shared_bytes);
	rig_open(&rig, config);
	uint64_t shared_bytes = 0;

	for (unsigned i = 0; i < config->cores; i++) {
		struct vly_stats stats;

		cr_assert_eq(vly_stats(rig.engine, i, &stats), 0);
		cr_assert_eq(stats.region_used_bytes, plan.core_bytes);
		cr_assert_geq(stats.region_bytes, stats.region_used_bytes);
		shared_bytes += rig.engine->seats[i].shared.used_bytes;
	}
	cr_assert_eq(plan.shared_bytes, shared_bytes);
	rig_close(&rig);
}

Test(config, plan_is_what_the_regions_really_give)
{
	struct vly_config config;

	rig_config(&config);
	check_plan(&config);
	config.cores = 5;
	config.conns_max = 1;
	config.events_max = 17;
	config.burst_max = 17;
	config.timers_max = 1;
	config.mail_bytes = 1;
	config.ports_max = 0;
	check_plan(&config);
	config.ports_max = 64;
	config.mail_slots = 2;
	config.hold_bytes = 1;
	config.hold_slots = 1;
	config.tx_refs = 1;
	config.tx_bufs = 3;
	config.tx_buf_bytes = 257;
	config.rx_bufs = 5;
	config.rx_buf_bytes = 1025;
	check_plan(&config);
}

Test(config, plan_of_the_defaults_is_what_the_region_gives)
{
	struct vly_config config;

	vly_config_init(&config);
	config.nic = "epoll";
	config.huge_pages = false;
	config.lock_memory = false;
	check_plan(&config);
}

Test(config, bytes_per_connection_are_the_difference_that_one_makes)
{
	struct vly_plan small, large;
	struct vly_config config;

	rig_config(&config);
	config.conns_max = 1024;
	cr_assert_eq(vly_config_plan(&config, &small), 0);
	config.conns_max = 2048;
	cr_assert_eq(vly_config_plan(&config, &large), 0);
	cr_assert_eq(large.core_bytes - small.core_bytes, 1024 * small.conn_bytes);
}
