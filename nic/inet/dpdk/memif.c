/* memif.c - what is peculiar to ports of memif: sockets left behind, frames that must fit a slot */
#include "nic/inet/dpdk/memif.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SLOT_BYTES 2048u /* ETH_MEMIF_DEFAULT_PKT_BUFFER_SIZE */

static bool is_memif(const char *vdev)
{
	return strncmp(vdev, "net_memif", strlen("net_memif")) == 0;
}

void vly_dpdk_memif_clear_socket(const char *vdev)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	const char *path = strstr(vdev, ",socket=");
	struct stat file;

	if (!is_memif(vdev) || !path || !strstr(vdev, "role=server") ||
	    !strstr(vdev, "socket-abstract=no"))
		return;
	path += strlen(",socket=");
	size_t len = strcspn(path, ",");

	if (len == 0 || len >= sizeof(name.sun_path))
		return;
	memcpy(name.sun_path, path, len);
	if (lstat(name.sun_path, &file) != 0 || !S_ISSOCK(file.st_mode))
		return;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return;
	if (connect(fd, (struct sockaddr *)&name, sizeof(name)) != 0 && errno == ECONNREFUSED)
		(void)unlink(name.sun_path);
	close(fd);
}

uint32_t vly_dpdk_memif_slot(const struct vly_dpdk_conf *conf, const char *name)
{
	if (!is_memif(name))
		return 0;
	for (unsigned i = 0; i < conf->vdevs_count; i++) {
		const char *vdev = conf->vdevs[i], *size = strstr(vdev, ",bsize=");

		if ((size_t)vly_dpdk_vdev_name_len(vdev) == strlen(name) &&
		    strncmp(vdev, name, strlen(name)) == 0 && size)
			return (uint32_t)strtoul(size + strlen(",bsize="), NULL, 10);
	}
	return SLOT_BYTES;
}
