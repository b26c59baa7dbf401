/* wire_pcap.h - a wire around another that writes what passes into a file for tshark */
#ifndef VLY_NIC_INET_WIRE_PCAP_H
#define VLY_NIC_INET_WIRE_PCAP_H

#include "nic/inet/wire.h"

/*
 * inet:pcap,<wire>,file=PATH[,snap=BYTES]: every frame received or sent, in the format of pcap with
 * nanoseconds, its time that of the poll. Core N > 0 writes PATH.N. Checksums that the wire below
 * completes, or never needed, are completed in the file. Written when 256 KiB have gathered, and at
 * the end: a wire for looking, not for speed.
 */
extern const struct vly_wire_ops vly_wire_pcap;

#endif
