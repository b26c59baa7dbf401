/* supervise.h - the process above the server under test: starts it, lets nothing survive */
#ifndef VLY_BENCH_SUPERVISE_H
#define VLY_BENCH_SUPERVISE_H

/*
 * Body of "volley supervise --control-fd N". Obeys the control socket until that ends, then kills
 * every descendant. Returns an exit code.
 *
 *   to it:    start {argv, cpus, ready_timeout_ns, count_syscalls}; sample {id}; pause; go on; stop
 *   from it:  ready {port}; sample {id, cost, cpus}; failed {reason};
 *             exited {ready, text, last_words}; stopped {text, syscalls}
 *
 * With count_syscalls the server runs under perf, which counts from the sample "begin" to "end".
 */
int supervise_main(int control_fd);

#endif
