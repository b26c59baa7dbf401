/* test_buf.c - message and packet buffers */
#include "mempool/buf.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "support/leak.h"

#define COUNT 4u
#define HEADROOM 128u
#define DATA 1500u

static const struct vly_buf_pool_opts data_opts = {
	.count = COUNT,
	.data_bytes = DATA,
	.headroom_bytes = HEADROOM,
};
static const struct vly_buf_pool_opts view_opts = {.count = COUNT};

static struct vly_buf_pool pool, views;
static void *pool_mem, *view_mem;

static void *mem_for(const struct vly_buf_pool_opts *opts)
{
	void *mem = aligned_alloc(VLY_CACHE_LINE, vly_buf_pool_bytes(opts));

	cr_assert_neq(mem, NULL);
	/* Pools may not rely on zeroes. */
	memset(mem, 0xee, vly_buf_pool_bytes(opts));
	return mem;
}

static void setup(void)
{
	pool_mem = mem_for(&data_opts);
	view_mem = mem_for(&view_opts);
	cr_assert_eq(vly_buf_pool_init(&pool, pool_mem, &data_opts), 0);
	cr_assert_eq(vly_buf_pool_init(&views, view_mem, &view_opts), 0);
}

static void teardown(void)
{
	free(pool_mem);
	free(view_mem);
	vly_leak_gate();
}

/* Every test ends with all buffers home; those that must not say so. */
static void all_home(void)
{
	cr_assert(vly_buf_pool_valid(&pool));
	cr_assert(vly_buf_pool_valid(&views));
	vly_buf_pool_fini(&pool);
	vly_buf_pool_fini(&views);
}

TestSuite(buf, .init = setup, .fini = teardown);

Test(buf, stride_is_an_odd_number_of_lines_that_just_suffices)
{
	for (uint32_t data = 0; data < 5000; data += 7) {
		struct vly_buf_pool_opts opts = {
			.count = 3, .data_bytes = data, .headroom_bytes = data % 300};
		size_t need = sizeof(struct vly_buf) + opts.data_bytes + opts.headroom_bytes;
		size_t stride = vly_buf_pool_stride(&opts);

		cr_assert_eq(stride % VLY_CACHE_LINE, 0);
		cr_assert_eq(stride / VLY_CACHE_LINE % 2, 1);
		cr_assert_geq(stride, need);
		cr_assert_lt(stride, need + 2 * VLY_CACHE_LINE);
		cr_assert_eq(vly_buf_pool_bytes(&opts), 3 * stride);
	}
}

Test(buf, stride_changes_exactly_where_the_next_odd_line_begins)
{
	struct vly_buf_pool_opts opts = {.count = 1, .data_bytes = 127};

	cr_assert_eq(vly_buf_pool_stride(&opts), 192);
	opts.data_bytes = 128;
	cr_assert_eq(vly_buf_pool_stride(&opts), 192);
	opts.data_bytes = 129;
	cr_assert_eq(vly_buf_pool_stride(&opts), 320);
}

Test(buf, descriptors_take_one_line_each)
{
	cr_assert_eq(vly_buf_pool_stride(&view_opts), 64);
	cr_assert_eq(vly_buf_pool_bytes(&view_opts), 64 * COUNT);
}

Test(buf, init_refuses_what_can_not_work)
{
	struct vly_buf_pool other;
	struct vly_buf_pool_opts opts = data_opts;

	cr_assert_eq(vly_buf_pool_init(&other, NULL, &opts), -ENOMEM);
	cr_assert_eq(vly_buf_pool_init(&other, (uint8_t *)pool_mem + 8, &opts), -EINVAL);
	opts.count = 0;
	cr_assert_eq(vly_buf_pool_init(&other, pool_mem, &opts), -EINVAL);
	opts = data_opts;
	opts.prefix_bytes = 32;
	cr_assert_eq(vly_buf_pool_init(&other, pool_mem, &opts), -EINVAL);
	opts = data_opts;
	opts.data_bytes = UINT32_MAX;
	cr_assert_eq(vly_buf_pool_init(&other, pool_mem, &opts), -EINVAL);
	opts.data_bytes = 0;
	opts.headroom_bytes = UINT32_MAX - 62;
	cr_assert_eq(vly_buf_pool_init(&other, pool_mem, &opts), -EINVAL);
	/* A failed init leaves a pool that fini accepts. */
	vly_buf_pool_fini(&other);
}

Test(buf, a_got_buffer_is_empty_and_ours_alone)
{
	struct vly_buf *buf = vly_buf_get(&pool);

	cr_assert_neq(buf, NULL);
	cr_assert_eq((uintptr_t)buf % VLY_CACHE_LINE, 0);
	cr_assert_eq(buf->next, NULL);
	cr_assert_eq(buf->parent, NULL);
	cr_assert_eq(buf->cookie, NULL);
	cr_assert_eq(buf->len, 0);
	cr_assert_eq(buf->refs, 1);
	cr_assert_eq(buf->cap, HEADROOM + DATA);
	cr_assert_eq(buf->pool, &pool);
	cr_assert_eq(buf->flags, 0);
	cr_assert_eq(buf->mark, 0);
	cr_assert_eq(buf->data, vly_buf_storage(buf) + HEADROOM);
	cr_assert_eq(vly_buf_headroom(buf), HEADROOM);
	cr_assert_eq(vly_buf_tailroom(buf), DATA);
	cr_assert(vly_buf_writable(buf));
	cr_assert(vly_buf_valid(buf));
	vly_buf_put(buf);
	all_home();
}

Test(buf, a_used_buffer_comes_back_as_new)
{
	struct vly_buf *buf = vly_buf_get(&pool);
	struct vly_buf *second = vly_buf_get(&pool);

	vly_buf_append(buf, 10);
	vly_buf_push(buf, 20);
	buf->next = second;
	buf->mark = 7;
	buf->flags = 0x80;
	vly_buf_put(buf);
	cr_assert_eq(vly_buf_get(&pool), buf);
	cr_assert_eq(buf->next, NULL);
	cr_assert_eq(buf->len, 0);
	cr_assert_eq(buf->mark, 0);
	cr_assert_eq(buf->flags, 0);
	cr_assert_eq(vly_buf_headroom(buf), HEADROOM);
	vly_buf_put(buf);
	vly_buf_put(second);
	all_home();
}

Test(buf, storage_is_writable_to_its_last_byte_and_stays_inside_its_element)
{
	struct vly_buf *all[COUNT];

	for (uint32_t i = 0; i < COUNT; i++) {
		all[i] = vly_buf_get(&pool);
		memset(vly_buf_storage(all[i]), (int)i, all[i]->cap);
	}
	for (uint32_t i = 0; i < COUNT; i++) {
		cr_assert(vly_buf_valid(all[i]));
		for (uint32_t at = 0; at < all[i]->cap; at++)
			cr_assert_eq(vly_buf_storage(all[i])[at], i);
		vly_buf_put(all[i]);
	}
	all_home();
}

Test(buf, exactly_count_buffers_are_handed_out)
{
	struct vly_buf *all[COUNT];
	struct vly_slab_stats stats;

	for (uint32_t i = 0; i < COUNT; i++) {
		cr_assert_eq(vly_buf_free_count(&pool), COUNT - i);
		all[i] = vly_buf_get(&pool);
		cr_assert_neq(all[i], NULL);
	}
	cr_assert_eq(vly_buf_get(&pool), NULL);
	cr_assert(vly_buf_pool_valid(&pool));
	vly_buf_put(all[1]);
	cr_assert_eq(vly_buf_get(&pool), all[1]);
	cr_assert_eq(vly_buf_get(&pool), NULL);
	vly_buf_pool_stats(&pool, &stats);
	cr_assert_eq(stats.count, COUNT);
	cr_assert_eq(stats.free_count, 0);
	cr_assert_eq(stats.low_water, 0);
	cr_assert_eq(stats.gets, COUNT + 1);
	cr_assert_eq(stats.exhausted, 2);
	for (uint32_t i = 0; i < COUNT; i++)
		vly_buf_put(all[i]);
	all_home();
}

Test(buf, index_names_the_buffer_home_or_not)
{
	struct vly_buf *buf = vly_buf_get(&pool);

	for (uint32_t i = 0; i < COUNT; i++) {
		cr_assert_eq(vly_buf_at(&pool, i)->index, i);
		cr_assert_eq((uint8_t *)vly_buf_at(&pool, i),
			     (uint8_t *)pool_mem + i * vly_buf_pool_stride(&data_opts));
	}
	cr_assert_eq(vly_buf_at(&pool, buf->index), buf);
	vly_buf_put(buf);
	all_home();
}

Test(buf, headers_are_pushed_until_the_headroom_ends)
{
	struct vly_buf *buf = vly_buf_get(&pool);
	uint8_t *start = buf->data;

	cr_assert_eq(vly_buf_push(buf, HEADROOM - 1), start - (HEADROOM - 1));
	cr_assert_eq(vly_buf_headroom(buf), 1);
	cr_assert_eq(vly_buf_push(buf, 2), NULL);
	cr_assert_eq(buf->len, HEADROOM - 1);
	cr_assert_eq(vly_buf_push(buf, 1), vly_buf_storage(buf));
	cr_assert_eq(vly_buf_push(buf, 1), NULL);
	cr_assert_eq(vly_buf_push(buf, UINT32_MAX), NULL);
	cr_assert_eq(buf->len, HEADROOM);
	cr_assert_eq(vly_buf_tailroom(buf), DATA);
	cr_assert(vly_buf_valid(buf));
	vly_buf_put(buf);
	all_home();
}

Test(buf, data_is_appended_until_the_tailroom_ends)
{
	struct vly_buf *buf = vly_buf_get(&pool);
	uint8_t *start = buf->data;

	cr_assert_eq(vly_buf_append(buf, DATA + 1), NULL);
	cr_assert_eq(buf->len, 0);
	cr_assert_eq(vly_buf_append(buf, DATA - 1), start);
	cr_assert_eq(vly_buf_append(buf, 2), NULL);
	cr_assert_eq(vly_buf_append(buf, 1), start + DATA - 1);
	cr_assert_eq(vly_buf_tailroom(buf), 0);
	cr_assert_eq(vly_buf_append(buf, 1), NULL);
	cr_assert_eq(vly_buf_append(buf, UINT32_MAX), NULL);
	cr_assert_eq(buf->len, DATA);
	cr_assert(vly_buf_valid(buf));
	vly_buf_put(buf);
	all_home();
}

Test(buf, pull_and_trim_give_room_back)
{
	struct vly_buf *buf = vly_buf_get(&pool);
	uint8_t *start = buf->data;

	vly_buf_append(buf, 100);
	cr_assert_eq(vly_buf_pull(buf, 30), start + 30);
	cr_assert_eq(vly_buf_headroom(buf), HEADROOM + 30);
	vly_buf_trim(buf, 20);
	cr_assert_eq(buf->len, 50);
	cr_assert_eq(vly_buf_tailroom(buf), DATA - 80);
	cr_assert_eq(vly_buf_pull(buf, 50), start + 80);
	cr_assert_eq(buf->len, 0);
	cr_assert(vly_buf_valid(buf));
	vly_buf_put(buf);
	all_home();
}

Test(buf, goes_home_with_its_last_reference_only)
{
	struct vly_buf *buf = vly_buf_get(&pool);

	cr_assert_eq(vly_buf_ref(buf), buf);
	vly_buf_ref(buf);
	cr_assert_eq(buf->refs, 3);
	vly_buf_put(buf);
	vly_buf_put(buf);
	cr_assert_eq(vly_buf_free_count(&pool), COUNT - 1);
	cr_assert_eq(buf->refs, 1);
	vly_buf_put(buf);
	cr_assert_eq(vly_buf_free_count(&pool), COUNT);
	all_home();
}

Test(buf, a_shared_buffer_is_not_writable)
{
	struct vly_buf *buf = vly_buf_get(&pool);

	vly_buf_ref(buf);
	cr_assert_not(vly_buf_writable(buf));
	vly_buf_put(buf);
	cr_assert(vly_buf_writable(buf));
	vly_buf_put(buf);
	all_home();
}

Test(buf, a_view_keeps_its_parent_from_home)
{
	struct vly_buf *parent = vly_buf_get(&pool);
	struct vly_buf *view = vly_buf_get(&views);

	vly_buf_append(parent, 100);
	memset(parent->data, 0x5a, 100);
	vly_buf_attach(view, parent, parent->data + 36, 64);
	cr_assert_eq(parent->refs, 2);
	cr_assert_not(vly_buf_writable(parent));
	cr_assert_not(vly_buf_writable(view));
	cr_assert_eq(vly_buf_headroom(view), 0);
	cr_assert_eq(vly_buf_tailroom(view), 0);
	cr_assert_eq(vly_buf_push(view, 1), NULL);
	cr_assert_eq(vly_buf_append(view, 1), NULL);
	cr_assert(vly_buf_valid(view));
	vly_buf_put(parent);
	cr_assert_eq(vly_buf_free_count(&pool), COUNT - 1);
	for (uint32_t i = 0; i < view->len; i++)
		cr_assert_eq(view->data[i], 0x5a);
	vly_buf_put(view);
	cr_assert_eq(vly_buf_free_count(&pool), COUNT);
	cr_assert_eq(vly_buf_free_count(&views), COUNT);
	all_home();
}

Test(buf, a_slice_of_a_slice_holds_the_owner_not_the_slice)
{
	struct vly_buf *parent = vly_buf_get(&pool);
	struct vly_buf *outer = vly_buf_get(&views);
	struct vly_buf *inner = vly_buf_get(&views);

	vly_buf_append(parent, 100);
	vly_buf_attach(outer, parent, parent->data, 100);
	vly_buf_attach(inner, outer, outer->data + 99, 1);
	cr_assert_eq(inner->parent, parent);
	cr_assert_eq(parent->refs, 3);
	vly_buf_put(parent);
	vly_buf_put(outer);
	cr_assert_eq(vly_buf_free_count(&views), COUNT - 1);
	cr_assert_eq(vly_buf_free_count(&pool), COUNT - 1);
	vly_buf_put(inner);
	all_home();
}

Test(buf, a_buffer_with_storage_can_be_a_view_and_has_its_storage_back_afterwards)
{
	struct vly_buf *parent = vly_buf_get(&pool);
	struct vly_buf *view = vly_buf_get(&pool);

	vly_buf_append(parent, 8);
	vly_buf_attach(view, parent, parent->data, 8);
	cr_assert_eq(view->cap, 0);
	vly_buf_put(view);
	cr_assert_eq(vly_buf_get(&pool), view);
	cr_assert_eq(view->cap, HEADROOM + DATA);
	cr_assert_eq(view->parent, NULL);
	vly_buf_put(view);
	vly_buf_put(parent);
	all_home();
}

/*
 * Parents of parents do not arise by attaching; a driver may still build them, as deep as it likes.
 */
Test(buf, a_hundred_thousand_parents_go_home_without_recursion)
{
	struct vly_buf_pool_opts opts = {.count = 100000};
	struct vly_buf_pool deep;
	void *mem = mem_for(&opts);
	struct vly_buf *top = NULL;

	cr_assert_eq(vly_buf_pool_init(&deep, mem, &opts), 0);
	for (uint32_t i = 0; i < opts.count; i++) {
		struct vly_buf *buf = vly_buf_get(&deep);

		buf->parent = top;
		top = buf;
	}
	cr_assert_eq(vly_buf_free_count(&deep), 0);
	vly_buf_put(top);
	cr_assert_eq(vly_buf_free_count(&deep), opts.count);
	vly_buf_pool_fini(&deep);
	free(mem);
	all_home();
}

Test(buf, a_parent_held_elsewhere_stops_the_release)
{
	struct vly_buf *parent = vly_buf_get(&pool);
	struct vly_buf *a = vly_buf_get(&views);
	struct vly_buf *b = vly_buf_get(&views);

	vly_buf_append(parent, 2);
	vly_buf_attach(a, parent, parent->data, 1);
	vly_buf_attach(b, parent, parent->data + 1, 1);
	vly_buf_put(parent);
	vly_buf_put(a);
	cr_assert_eq(parent->refs, 1);
	cr_assert_eq(vly_buf_free_count(&pool), COUNT - 1);
	vly_buf_put(b);
	all_home();
}

Test(buf, put_chain_drops_one_reference_of_each_segment)
{
	struct vly_buf *a = vly_buf_get(&pool);
	struct vly_buf *b = vly_buf_get(&views);
	struct vly_buf *c = vly_buf_get(&pool);

	a->next = b;
	b->next = c;
	vly_buf_ref(b);
	vly_buf_put_chain(a);
	cr_assert_eq(vly_buf_free_count(&pool), COUNT);
	cr_assert_eq(vly_buf_free_count(&views), COUNT - 1);
	vly_buf_put(b);
	vly_buf_put_chain(NULL);
	all_home();
}

struct returned {
	int calls;
	void *cookie;
	uint8_t *data;
	uint32_t len, mark;
};

static void note_return(struct vly_buf *buf, void *arg)
{
	struct returned *returned = arg;

	returned->calls++;
	returned->cookie = buf->cookie;
	returned->data = buf->data;
	returned->len = buf->len;
	returned->mark = buf->mark;
}

Test(buf, borrowed_memory_returns_once_with_its_last_reference)
{
	uint8_t message[100];
	struct returned returned = {0};
	struct vly_buf_pool_opts opts = {
		.count = 2, .borrowed_home = note_return, .borrowed_arg = &returned};
	struct vly_buf_pool lent;
	void *mem = mem_for(&opts);

	cr_assert_eq(vly_buf_pool_init(&lent, mem, &opts), 0);
	struct vly_buf *buf = vly_buf_get(&lent);
	struct vly_buf *view = vly_buf_get(&lent);

	vly_buf_borrow(buf, message, sizeof(message), &opts);
	buf->mark = 3;
	cr_assert_not(vly_buf_writable(buf));
	cr_assert(vly_buf_valid(buf));
	vly_buf_attach(view, buf, message + 50, 50);
	vly_buf_put(buf);
	cr_assert_eq(returned.calls, 0);
	vly_buf_put(view);
	cr_assert_eq(returned.calls, 1);
	cr_assert_eq(returned.cookie, &opts);
	cr_assert_eq(returned.data, message);
	cr_assert_eq(returned.len, sizeof(message));
	cr_assert_eq(returned.mark, 3);

	/* A cookie of NULL is as good as any; a buffer that lends nothing tells nobody. */
	buf = vly_buf_get(&lent);
	vly_buf_borrow(buf, message, 1, NULL);
	vly_buf_put(buf);
	cr_assert_eq(returned.calls, 2);
	cr_assert_eq(returned.cookie, NULL);
	vly_buf_put(vly_buf_get(&lent));
	cr_assert_eq(returned.calls, 2);
	vly_buf_pool_fini(&lent);
	free(mem);
	all_home();
}

Test(buf, borrowed_memory_without_a_hook_just_goes_home)
{
	uint8_t byte = 1;
	struct vly_buf *buf = vly_buf_get(&views);

	vly_buf_borrow(buf, &byte, 1, &byte);
	vly_buf_put(buf);
	all_home();
}

Test(buf, a_prefix_lies_before_each_header_untouched)
{
	struct vly_buf_pool_opts opts = {
		.count = 3, .data_bytes = 100, .headroom_bytes = 28, .prefix_bytes = 128};
	size_t stride = vly_buf_pool_stride(&opts);
	struct vly_buf_pool prefixed;
	uint8_t *mem = mem_for(&opts);
	struct vly_buf *all[3];

	cr_assert_eq(stride, 320);
	cr_assert_eq(vly_buf_pool_init(&prefixed, mem, &opts), 0);
	for (uint32_t i = 0; i < 3; i++) {
		all[i] = vly_buf_get(&prefixed);
		cr_assert_eq((uint8_t *)all[i], mem + i * stride + 128);
		cr_assert_eq(vly_buf_at(&prefixed, i), all[i]);
		memset(vly_buf_storage(all[i]), 0, all[i]->cap);
	}
	cr_assert_eq(vly_buf_get(&prefixed), NULL);
	cr_assert(vly_buf_pool_valid(&prefixed));
	for (uint32_t i = 0; i < 3; i++)
		vly_buf_put(all[i]);
	for (uint32_t i = 0; i < 3; i++) {
		for (uint32_t at = 0; at < 128; at++)
			cr_assert_eq(mem[i * stride + at], 0xee);
	}
	cr_assert(vly_buf_pool_valid(&prefixed));
	vly_buf_pool_fini(&prefixed);
	free(mem);
	all_home();
}

Test(buf, valid_sees_data_outside_the_storage)
{
	struct vly_buf *buf = vly_buf_get(&pool);

	buf->len = DATA;
	cr_assert(vly_buf_valid(buf));
	buf->len = DATA + 1;
	cr_assert_not(vly_buf_valid(buf));
	cr_assert_not(vly_buf_pool_valid(&pool));
	buf->len = 0;
	buf->data -= HEADROOM + 1;
	cr_assert_not(vly_buf_valid(buf));
}

Test(buf, pool_fini_aborts_while_one_is_out, .signal = SIGABRT)
{
	cr_assert_neq(vly_buf_get(&pool), NULL);
	vly_buf_pool_fini(&pool);
}

#ifndef NDEBUG
Test(buf, a_put_too_many_is_caught, .signal = SIGABRT)
{
	struct vly_buf *buf = vly_buf_get(&pool);

	vly_buf_put(buf);
	vly_buf_put(buf);
}
#endif

#ifdef VLY_ASAN
Test(buf, storage_at_home_is_poisoned)
{
	struct vly_buf *buf = vly_buf_get(&pool);
	uint8_t *first = vly_buf_storage(buf);
	uint8_t *last = first + buf->cap - 1;

	cr_assert_not(__asan_address_is_poisoned(first));
	cr_assert_not(__asan_address_is_poisoned(last));
	cr_assert(__asan_address_is_poisoned(last + 1));
	vly_buf_put(buf);
	cr_assert(__asan_address_is_poisoned(first));
	cr_assert(__asan_address_is_poisoned(last));
	all_home();
	cr_assert_not(__asan_address_is_poisoned(first));
}
#endif
