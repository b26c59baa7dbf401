/* leak.h - the leak gate of every Criterion suite: Criterion 2.4.1 passes even when LeakSanitizer reports */
#ifndef VLY_TESTS_LEAK_H
#define VLY_TESTS_LEAK_H

#include <criterion/criterion.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VLY_LEAK_CHECKED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define VLY_LEAK_CHECKED 1
#endif

#ifdef VLY_LEAK_CHECKED
#include <sanitizer/lsan_interface.h>
#endif

/* Give it to TestSuite(..., .fini = vly_leak_gate). */
static inline void vly_leak_gate(void)
{
#ifdef VLY_LEAK_CHECKED
	/* Criterion ignores a failed assertion in a fini: only a crash fails the case. */
	if (__lsan_do_recoverable_leak_check() != 0)
		abort();
#endif
}

#endif
