/* asan_compat.h - marks memory nobody may touch for AddressSanitizer; nothing in other builds */
#ifndef VLY_MEMPOOL_ASAN_COMPAT_H
#define VLY_MEMPOOL_ASAN_COMPAT_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VLY_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) && !defined(VLY_ASAN)
#define VLY_ASAN 1
#endif

#ifdef VLY_ASAN
#include <sanitizer/asan_interface.h>
#define vly_poison(mem, bytes) __asan_poison_memory_region((mem), (bytes))
#define vly_unpoison(mem, bytes) __asan_unpoison_memory_region((mem), (bytes))
#else
#define vly_poison(mem, bytes) ((void)(mem), (void)(bytes))
#define vly_unpoison(mem, bytes) ((void)(mem), (void)(bytes))
#endif

#endif
