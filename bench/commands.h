/* commands.h - the sub-commands of volley; argv[0] is the name, the result an exit code */
#ifndef VLY_BENCH_COMMANDS_H
#define VLY_BENCH_COMMANDS_H

#include <stdio.h>

int command_pingpong(int argc, char **argv);
int command_ab(int argc, char **argv);
int command_compare(int argc, char **argv);
int command_serve(int argc, char **argv);
int command_load(int argc, char **argv);
int command_list(int argc, char **argv);
int command_doctor(int argc, char **argv);
int command_keepup(int argc, char **argv);

/* Not for people: started by the others. */
int command_supervise(int argc, char **argv);
int command_echo_server(int argc, char **argv);

/*
 * argp_parse() with our exit code, the nearest name for a mistyped option, and "volley <command>"
 * in the help.
 */
struct argp;
void command_parse(const char *command, const struct argp *argp, int argc, char **argv,
		   void *input);

/*
 * Flushes what a command printed. `code`, but EXIT_FAILED for EXIT_OK if any of it could not be
 * written; that is told on stderr, once.
 */
int command_flush(const char *command, FILE *out, int code);

/* N of "--control-fd N" as the only arguments; -1: it is not that. */
int command_control_fd(int argc, char **argv);

#endif
