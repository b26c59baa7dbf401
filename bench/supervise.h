/* supervise.h - the process above the server under test: starts it, lets nothing survive */
#ifndef VLY_BENCH_SUPERVISE_H
#define VLY_BENCH_SUPERVISE_H

/*
 * Body of "volley supervise --control-fd N". Obeys the control socket until that ends, then kills
 * every descendant. Returns an exit code.
 *
 *   to it:    start {argv, cpus, ready_timeout_ns}; sample {id}; stop
 *   from it:  ready {port}; sample {id, cost, cpus}; failed {reason};
 *             exited {ready, text, last_words}; stopped {text}
 */
int supervise_main(int control_fd);

#endif
