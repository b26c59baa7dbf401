/* conf.c - the options of a dpdk wire */
#include "nic/inet/dpdk/conf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "nic/inet/wire_options.h"

#define DESCRIPTORS_MAX 32768u
#define BUFS_MAX (1u << 22)

bool vly_dpdk_is_pci(const char *text, char name[VLY_DPDK_NAME_MAX])
{
	unsigned domain = 0, bus, device, function;
	int end = 0;

	if (sscanf(text, "%4x:%2x:%2x.%1x%n", &domain, &bus, &device, &function, &end) != 4 ||
	    text[end]) {
		domain = 0;
		end = 0;
		if (sscanf(text, "%2x:%2x.%1x%n", &bus, &device, &function, &end) != 3 || text[end])
			return false;
	}
	snprintf(name, VLY_DPDK_NAME_MAX, "%04x:%02x:%02x.%x", domain & 0xffff, bus & 0xff,
		 device & 0x1f, function & 7);
	return true;
}

int vly_dpdk_vdev_name_len(const char *vdev)
{
	return (int)strcspn(vdev, ",");
}

static bool begins(const char *word, const char *with)
{
	return strncmp(word, with, strlen(with)) == 0;
}

static int add_vdev(struct vly_dpdk_conf *conf, const char *vdev, char *why, size_t why_bytes)
{
	if (conf->vdevs_count == VLY_DPDK_VDEVS_MAX || !vly_dpdk_vdev_name_len(vdev) ||
	    vly_dpdk_vdev_name_len(vdev) >= VLY_DPDK_NAME_MAX) {
		snprintf(why, why_bytes, "eal: --vdev=NAME,... is expected, %d of them at most",
			 VLY_DPDK_VDEVS_MAX);
		return -EINVAL;
	}
	conf->vdevs[conf->vdevs_count++] = vdev;
	return 0;
}

/* Cuts the words at blanks; virtual devices are sorted out. */
static int parse_eal(struct vly_dpdk_conf *conf, const char *eal, char *why, size_t why_bytes)
{
	char *save = NULL;
	int error = 0;

	snprintf(conf->text, sizeof(conf->text), "%s", eal);
	for (char *word = strtok_r(conf->text, " \t", &save); word && !error;
	     word = strtok_r(NULL, " \t", &save)) {
		if (strcmp(word, "--vdev") == 0) {
			word = strtok_r(NULL, " \t", &save);
			error = add_vdev(conf, word ? word : "", why, why_bytes);
			if (!word)
				break;
			continue;
		}
		if (begins(word, "--vdev=")) {
			error = add_vdev(conf, word + strlen("--vdev="), why, why_bytes);
			continue;
		}
		if (begins(word, "--allow") || begins(word, "-a") || begins(word, "--block") ||
		    begins(word, "-b"))
			conf->pci = true;
		if (conf->words_count == VLY_DPDK_WORDS_MAX) {
			snprintf(why, why_bytes, "eal: more than %d words", VLY_DPDK_WORDS_MAX);
			return -EINVAL;
		}
		conf->words[conf->words_count++] = word;
	}
	return error;
}

static int parse_ports(struct vly_dpdk_conf *conf, const char *list, char *why, size_t why_bytes)
{
	do {
		size_t len = strcspn(list, "/");
		char *name = conf->ports[conf->ports_count];
		char word[VLY_DPDK_NAME_MAX];

		if (len == 0 || len >= VLY_DPDK_NAME_MAX ||
		    conf->ports_count == VLY_DPDK_PORTS_MAX) {
			snprintf(why, why_bytes,
				 "port=%s: a number, a device (net_memif0) or a PCI address "
				 "(0000:03:00.0) is expected, or one for each core, A/B/C",
				 list);
			return -EINVAL;
		}
		memcpy(word, list, len);
		word[len] = '\0';
		if (vly_dpdk_is_pci(word, name))
			conf->pci = true;
		else
			memcpy(name, word, len + 1);
		conf->ports_count++;
		list += len;
	} while (*list++ == '/');
	return 0;
}

int vly_dpdk_conf_parse(struct vly_dpdk_conf *conf, const struct vly_nic_spec *spec, char *why,
			size_t why_bytes)
{
	const char *eal = vly_spec_get(spec, "eal"), *port = vly_spec_get(spec, "port");
	const char *csum = vly_spec_get(spec, "csum");
	struct vly_wire_options options;
	uint64_t rxd, txd, bufs, queues;

	memset(conf, 0, sizeof(*conf));
	if (vly_wire_options_parse(&options, spec, why, why_bytes) ||
	    vly_spec_number(spec, "rxd", DESCRIPTORS_MAX, 0, &rxd, why, why_bytes) ||
	    vly_spec_number(spec, "txd", DESCRIPTORS_MAX, 0, &txd, why, why_bytes) ||
	    vly_spec_number(spec, "queues", 64, 0, &queues, why, why_bytes) ||
	    vly_spec_number(spec, "bufs", BUFS_MAX, 0, &bufs, why, why_bytes) ||
	    parse_eal(conf, eal ? eal : "", why, why_bytes) ||
	    parse_ports(conf, port && *port ? port : "0", why, why_bytes))
		return -EINVAL;
	conf->mtu = options.mtu;
	conf->mtu_given = vly_spec_get(spec, "mtu") != NULL;
	conf->software = csum && !options.offload;
	conf->cut = options.cut;
	conf->rxd = (uint32_t)rxd;
	conf->txd = (uint32_t)txd;
	conf->bufs = (uint32_t)bufs;
	conf->queues = (unsigned)queues;
	return 0;
}
