/* keepup_plot.c - lag against rate as a picture: the script that draws it, run with Debian's Python */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/keepup.h"

#define SCRIPT "keepup_plot.py"
#define PYTHON "/usr/bin/python3" /* the one that Debian's matplotlib is for */

int keepup_plot(const struct keepup *keepup, const char *file)
{
	char script[PATH_MAX];
	int status = 0;

	if (variant_file(SCRIPT, script, sizeof(script)) != 0) {
		fprintf(stderr, "volley keepup: --save-plot: %s was not built; make build\n",
			SCRIPT);
		return -ENOENT;
	}
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		execl(PYTHON, PYTHON, "-B", script, file, keepup->plot_path, (char *)NULL);
		fprintf(stderr, "volley keepup: --save-plot: there is no %s\n", PYTHON);
		_exit(127);
	}
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}
