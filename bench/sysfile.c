/* sysfile.c - small text files of /proc and /sys */
#include "bench/sysfile.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int sysfile_read(const char *path, char *text, size_t size_bytes)
{
	size_t len = 0;
	int err = 0;

	text[0] = '\0';
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (len < size_bytes - 1) {
		ssize_t got = read(fd, text + len, size_bytes - 1 - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			err = -errno;
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	close(fd);
	text[err < 0 ? 0 : len] = '\0';
	if (err < 0)
		return err;
	if (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	return (int)len;
}

int sysfile_u64(const char *path, uint64_t *value)
{
	char text[64];
	char *end;

	int len = sysfile_read(path, text, sizeof(text));
	if (len < 0)
		return len;
	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	*value = strtoull(text, &end, 10);
	return 0;
}

int sysfile_field(const char *path, const char *name, uint64_t *value)
{
	/* /proc/meminfo and its like; the bench reads them on one thread */
	static char text[65536];
	size_t name_len = strlen(name);

	int len = sysfile_read(path, text, sizeof(text));
	if (len < 0)
		return len;
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, name_len) != 0)
			continue;
		const char *at = line + name_len;
		if (*at != ':' && *at != ' ' && *at != '\t')
			continue;
		at += strspn(at, ": \t");
		if (!isdigit((unsigned char)*at))
			continue;
		*value = strtoull(at, NULL, 10);
		return 0;
	}
	return -ENOENT;
}
