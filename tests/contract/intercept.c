/* intercept.c - counts what a thread allocates, maps and locks while it says so */
#include "tests/contract/intercept.h"

#include <string.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INTERCEPT_OFF 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
	__has_feature(memory_sanitizer)
#define INTERCEPT_OFF 1
#endif
#endif

#ifdef INTERCEPT_OFF

bool intercept_works(void)
{
	return false;
}

void intercept_begin(void)
{
}

struct intercept intercept_end(void)
{
	struct intercept none;

	memset(&none, 0, sizeof(none));
	return none;
}

#else

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The executable's own definitions stand before libc's, for every library in the process. */

static __thread bool counting;
static __thread struct intercept counts;

bool intercept_works(void)
{
	return true;
}

void intercept_begin(void)
{
	memset(&counts, 0, sizeof(counts));
	counting = true;
}

struct intercept intercept_end(void)
{
	counting = false;
	return counts;
}

/* --- the allocator: glibc's own names behind ours -------------------------------------------- */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t align, size_t size);
extern void __libc_free(void *old);

void *malloc(size_t size)
{
	counts.allocations += counting;
	return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	counts.allocations += counting;
	return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	counts.allocations += counting;
	return __libc_realloc(old, size);
}

void free(void *old)
{
	counts.allocations += counting;
	__libc_free(old);
}

void *memalign(size_t align, size_t size);
void *memalign(size_t align, size_t size)
{
	counts.allocations += counting;
	return __libc_memalign(align, size);
}

void *aligned_alloc(size_t align, size_t size)
{
	return memalign(align, size);
}

int posix_memalign(void **result, size_t align, size_t size)
{
	*result = memalign(align, size);
	return *result ? 0 : ENOMEM;
}

/* --- mappings and locks ---------------------------------------------------------------------- */

void *mmap(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	counts.mappings += counting;
	return (void *)syscall(SYS_mmap, at, len, prot, flags, fd, offset);
}

int munmap(void *at, size_t len)
{
	counts.mappings += counting;
	return (int)syscall(SYS_munmap, at, len);
}

int madvise(void *at, size_t len, int advice)
{
	counts.mappings += counting;
	return (int)syscall(SYS_madvise, at, len, advice);
}

int mprotect(void *at, size_t len, int prot)
{
	counts.mappings += counting;
	return (int)syscall(SYS_mprotect, at, len, prot);
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
	static int (*_Atomic next)(pthread_mutex_t * mutex);
	int (*lock)(pthread_mutex_t * mutex) = atomic_load_explicit(&next, memory_order_relaxed);

	counts.locks += counting;
	if (!lock) {
		/* Found twice by two threads it is the same. */
		lock = (int (*)(pthread_mutex_t *))dlsym(RTLD_NEXT, "pthread_mutex_lock");
		atomic_store_explicit(&next, lock, memory_order_relaxed);
	}
	return lock(mutex);
}

#endif
