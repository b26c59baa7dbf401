/* conf.h - the options of a dpdk wire */
#ifndef VLY_NIC_INET_DPDK_CONF_H
#define VLY_NIC_INET_DPDK_CONF_H

#include <stdbool.h>
#include <stdint.h>

#include "nic/spec.h"

#define VLY_DPDK_WORDS_MAX 64
#define VLY_DPDK_VDEVS_MAX 32
#define VLY_DPDK_PORTS_MAX 32
#define VLY_DPDK_NAME_MAX 64
/*
 * Where the options do not say; fitted to what the driver takes. Drivers prefer 256 to 2,048: 1,024 frames of 64-byte
 * messages are 116 us at 10GbE, which a core may be away without a loss.
 */
#define VLY_DPDK_DESCRIPTORS 1024u

struct vly_dpdk_conf {
	char text[VLY_SPEC_TEXT_MAX]; /* cut into the words below */
	/* eal="...": DPDK's own words, without those of virtual devices */
	const char *words[VLY_DPDK_WORDS_MAX];
	unsigned words_count;
	/* --vdev=...: devices that the wire makes and takes away itself */
	const char *vdevs[VLY_DPDK_VDEVS_MAX];
	unsigned vdevs_count;
	/* port=A[/B...]: one, whose queues the cores share; or one for each core */
	char ports[VLY_DPDK_PORTS_MAX][VLY_DPDK_NAME_MAX];
	unsigned ports_count;
	bool pci;     /* a PCI device is asked for */
	uint32_t mtu; /* 1500 */
	bool mtu_given;
	bool software;     /* csum=none */
	bool cut;          /* tso=1: where the port offers it */
	unsigned queues;   /* at most so many; 0: what the port has */
	uint32_t rxd, txd; /* descriptors; 0: the driver's choice */
	uint32_t bufs;     /* mbufs of a queue; 0: what the descriptors take */
};

/* 0, or -EINVAL with the reason in `why`. */
int vly_dpdk_conf_parse(struct vly_dpdk_conf *conf, const struct vly_nic_spec *spec, char *why,
			size_t why_bytes);

/* Whether `text` is the address of a PCI device: 0000:03:00.0 or 03:00.0; then in its long form in `name`. */
bool vly_dpdk_is_pci(const char *text, char name[VLY_DPDK_NAME_MAX]);

/* Length of the device's name in --vdev=NAME,args. */
int vly_dpdk_vdev_name_len(const char *vdev);

#endif
