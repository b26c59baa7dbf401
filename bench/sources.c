/* sources.c - the local addresses that connections are made from */
#include "bench/sources.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The last 64 bits of an IPv6 address, or all of an IPv4 one: what is counted. */
static uint64_t number_of(const struct vly_addr *addr)
{
	uint64_t number = 0;

	if (addr->family == VLY_IP4)
		for (int i = 0; i < 4; i++)
			number = number << 8 | addr->ip4[i];
	else
		for (int i = 8; i < 16; i++)
			number = number << 8 | addr->ip6[i];
	return number;
}

static void set_number(struct vly_addr *addr, uint64_t number)
{
	if (addr->family == VLY_IP4)
		for (int i = 3; i >= 0; i--, number >>= 8)
			addr->ip4[i] = (uint8_t)number;
	else
		for (int i = 15; i >= 8; i--, number >>= 8)
			addr->ip6[i] = (uint8_t)number;
}

static int parse_addr(const char *text, size_t len, struct vly_addr *addr)
{
	char copy[64];

	memset(addr, 0, sizeof(*addr));
	if (len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	addr->family = VLY_IP4;
	if (inet_pton(AF_INET, copy, addr->ip4) == 1)
		return 0;
	addr->family = VLY_IP6;
	return inet_pton(AF_INET6, copy, addr->ip6) == 1 ? 0 : -EINVAL;
}

/* "/24" into the number of addresses from the first one on. 0: it is no prefix. */
static uint64_t span_of_prefix(const char *text, struct vly_addr *first)
{
	unsigned long bits = first->family == VLY_IP4 ? 32 : 64; /* that are counted */
	unsigned long skipped = first->family == VLY_IP4 ? 0 : 64;
	char *end;
	unsigned long prefix = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 1000;
	uint64_t number = number_of(first), host;

	if (prefix == 1000 || *end || prefix < skipped || prefix > skipped + bits)
		return 0;
	prefix -= skipped;
	host = prefix == 0      ? UINT64_MAX >> (64 - bits)
	       : prefix == bits ? 0
				: (UINT64_C(1) << (bits - prefix)) - 1;
	/* The network's own address, and the one of everybody; of two addresses both are good. */
	if (host > 1 && (number & host) == 0)
		set_number(first, ++number);
	if (host > 1 && (number & host) == host)
		return 0;
	return host - (number & host) + (host > 1 ? 0 : 1);
}

int sources_parse(const char *text, struct sources *sources, char *why, size_t why_bytes)
{
	size_t len = strcspn(text, "-/");
	struct vly_addr last;
	uint64_t span = 0;

	memset(sources, 0, sizeof(*sources));
	if (parse_addr(text, len, &sources->first) == 0) {
		if (!text[len]) {
			span = 1;
		} else if (text[len] == '/') {
			span = span_of_prefix(text + len + 1, &sources->first);
			span = span < SOURCES_MAX ? span : SOURCES_MAX;
		} else if (parse_addr(text + len + 1, strlen(text + len + 1), &last) == 0 &&
			   last.family == sources->first.family &&
			   (last.family == VLY_IP4 || !memcmp(last.ip6, sources->first.ip6, 8)) &&
			   number_of(&last) >= number_of(&sources->first)) {
			span = number_of(&last) - number_of(&sources->first) + 1;
		}
	}
	if (span == 0 || span > SOURCES_MAX) {
		snprintf(
			why, why_bytes,
			"'%s' %s; write 192.0.2.1, 192.0.2.1-192.0.2.9, 127.0.0.0/8 or 2001:db8::1/64",
			text, span ? "has more than 65536 addresses" : "is no range of addresses");
		return -EINVAL;
	}
	sources->count = (uint32_t)span;
	return 0;
}

static const char *address_text(const struct vly_addr *addr, char *text, size_t size_bytes)
{
	return inet_ntop(addr->family == VLY_IP4 ? AF_INET : AF_INET6,
			 addr->family == VLY_IP4 ? addr->ip4 : addr->ip6, text,
			 (socklen_t)size_bytes);
}

char *sources_format(const struct sources *sources, char *text, size_t size_bytes)
{
	char first[INET6_ADDRSTRLEN], last[INET6_ADDRSTRLEN];
	struct vly_addr end;

	text[0] = '\0';
	if (!sources->count)
		return text;
	end = sources_at(sources, sources->count - 1);
	snprintf(text, size_bytes, "%s%s%s", address_text(&sources->first, first, sizeof(first)),
		 sources->count > 1 ? "-" : "",
		 sources->count > 1 ? address_text(&end, last, sizeof(last)) : "");
	return text;
}

struct vly_addr sources_at(const struct sources *sources, uint32_t id)
{
	struct vly_addr addr = sources->first;

	set_number(&addr, number_of(&addr) + id % sources->count);
	return addr;
}

void sources_on_loopback(struct sources *sources, uint32_t connections, uint32_t ports_max)
{
	uint32_t count = connections / ports_max + (connections % ports_max != 0);

	*sources = (struct sources){
		.first = {.family = VLY_IP4, .ip4 = {127, 0, 0, 1}},
		.count = count < SOURCES_MAX ? count : SOURCES_MAX,
	};
}
