/* registry.c - the nics that are built; a new one joins by one line */
#include "nic/nic.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "nic/epoll/epoll.h"
#include "nic/inet/inet.h"
#include "nic/uring/uring.h"

/* Best first: "auto" takes the first kernel-socket nic that the machine allows. */
static const struct vly_nic_ops *const built[] = {
	&vly_uring_ops,
	&vly_epoll_ops,
	&vly_inet_ops,
};

#define BUILT_COUNT (sizeof(built) / sizeof(built[0]))

const struct vly_nic_ops *vly_nic_at(unsigned index)
{
	return index < BUILT_COUNT ? built[index] : NULL;
}

static int resolve_auto(struct vly_nic_spec *spec, const struct vly_nic_ops **ops, char *why,
			size_t why_bytes)
{
	int error = -ENOTSUP;

	for (unsigned i = 0; i < BUILT_COUNT; i++) {
		if (built[i]->by_name_only)
			continue;
		error = vly_spec_parse(spec, built[i]->name, why, why_bytes);
		if (!error)
			error = built[i]->check(spec, why, why_bytes);
		if (!error) {
			*ops = built[i];
			return 0;
		}
		vly_log(VLY_LOG_WARN, "nic %s is refused here: %s", built[i]->name, why);
	}
	return error;
}

int vly_nic_resolve(const char *text, struct vly_nic_spec *spec, const struct vly_nic_ops **ops,
		    char *why, size_t why_bytes)
{
	int error = vly_spec_parse(spec, text, why, why_bytes);

	if (error)
		return error;
	if (strcmp(spec->name, "auto") == 0) {
		if (spec->options_count) {
			snprintf(why, why_bytes, "nic auto has no options");
			return -EINVAL;
		}
		return resolve_auto(spec, ops, why, why_bytes);
	}
	for (unsigned i = 0; i < BUILT_COUNT; i++) {
		if (strcmp(built[i]->name, spec->name) == 0) {
			*ops = built[i];
			return built[i]->check(spec, why, why_bytes);
		}
	}
	size_t used = (size_t)snprintf(why, why_bytes, "there is no nic \"%s\"; built are: auto",
				       spec->name);

	for (unsigned i = 0; i < BUILT_COUNT && used < why_bytes; i++)
		used += (size_t)snprintf(why + used, why_bytes - used, ", %s", built[i]->name);
	return -EINVAL;
}
