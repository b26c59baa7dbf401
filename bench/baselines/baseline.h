/* baseline.h - what the plain C servers share: command line, listeners, READY, the end, kept bytes */
#ifndef VLY_BENCH_BASELINE_H
#define VLY_BENCH_BASELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * The path of a message is in each program; here is what happens once, or to peers that stop
 * reading. What fails before READY ends the process: one line on stderr, exit code 1 (2: wrong
 * usage).
 */

#define BASELINE_BUFFER_BYTES 65536
#define BASELINE_RETRY_MS 1000 /* accepting again after descriptors or memory lacked */

/*
 * Reads "PORT [CPUS]" (CPUS as in 0-3,8; none: not pinned), takes all the descriptors that may be
 * had, ends the process with exit code 0 on SIGTERM and SIGINT. PORT 0: one is chosen.
 */
void baseline_start(int argc, char **argv);

/* Pins the calling thread to all CPUs given; nothing if there are none. */
void baseline_pin_all(void);

/* The only listener, on every IPv4 address, backlog as large as can be. flags: SOCK_NONBLOCK. */
int baseline_listen(int flags);

/* Tells the port, once connections are accepted or will be. */
void baseline_ready(int listen_fd);

/*
 * Serves for ever: in this thread alone, for up to one CPU; else in a thread on each CPU with a
 * non-blocking listener of its own, all on one port (SO_REUSEPORT), and a table of descriptors of its
 * own: as in a process of one thread, the kernel then counts no references when it looks one up. Each
 * thread calls open(), then run() with what that returned. READY is said, and run() called, once all
 * are open.
 */
_Noreturn void baseline_serve(void *(*open)(int listen_fd), void (*run)(void *worker));

/* "NAME: what: strerror(errno)" on stderr, exit code 1. */
_Noreturn void baseline_die(const char *what);

/* "NAME: ", what is formatted, and a newline on stderr. */
void baseline_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether accept4() failed with errno for lack of something: to be tried again later. */
bool baseline_accept_lacks(void);

/* TCP_NODELAY: an echo is never held back. */
void baseline_nodelay(int fd);

/* Bytes that a peer has still to take. */
struct baseline_rest {
	size_t begin, end;
	uint8_t bytes[];
};

/* By descriptor; NULL: nothing is kept. Of the calling thread, as its descriptors are. */
extern _Thread_local struct baseline_rest **baseline_rests;

/* Copies what send() did not take. false: no memory. */
bool baseline_keep(int fd, const uint8_t *bytes, size_t len_bytes);

/* Sends what is kept. 0: nothing is kept any more; -EAGAIN: not yet; -errno: the peer is lost. */
int baseline_flush(int fd);

/* Frees what is kept, then closes. */
void baseline_close(int fd);

/*
 * In a process of several threads glibc's recv(), send(), poll() and epoll_wait() switch
 * cancellation on and off around each call. No thread here is ever cancelled: the bare system calls
 * spare that; results and errno are the same.
 */
static inline ssize_t bare_recv(int fd, void *bytes, size_t len_bytes)
{
	return syscall(SYS_recvfrom, fd, bytes, len_bytes, 0, NULL, NULL);
}

/* MSG_NOSIGNAL: a peer that is gone is EPIPE. */
static inline ssize_t bare_send(int fd, const void *bytes, size_t len_bytes)
{
	return syscall(SYS_sendto, fd, bytes, len_bytes, MSG_NOSIGNAL, NULL, 0);
}

#endif
