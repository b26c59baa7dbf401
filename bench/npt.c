/* npt.c - the control protocol of the Python sockets study: its request and its reply */
#include "bench/npt.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S UINT64_C(1000000000)
#define STEPS_PER_OCTAVE 10 /* base = 2^(1/10) */
#define BUCKETS 400         /* 2^40 ns are 18 minutes */
#define CONNECTING_MAX 32   /* as the study's own load generator */
#define RUNTIME_MAX_S 86400
#define CONNECTIONS_MAX 10000000

int npt_parse(const char *text, struct npt_request *request, char *why, size_t why_bytes)
{
	unsigned long long port, count, runtime_s, min_ns, max_ns, size;
	char ip[64];
	int end = 0; /* behind the last field that was read */
	int fields = sscanf(text, "%63s%n %10llu%n %10llu%n %10llu%n %19llu%n %19llu%n %10llu%n",
			    ip, &end, &port, &end, &count, &end, &runtime_s, &end, &min_ns, &end,
			    &max_ns, &end, &size, &end);

	memset(request, 0, sizeof(*request));
	/* with a minus sign it would be a large number; and what is no number now will never be one */
	if (strchr(text, '-') || text[end + (int)strspn(text + end, " \t\r\n")] != '\0')
		fields = 0;
	if (fields > 0 && fields < 7 && strlen(text) < NPT_REQUEST_MAX)
		return -EAGAIN;
	if (fields != 7) {
		snprintf(
			why, why_bytes,
			"'%.100s' is no request; expected: ip port count runtime_s min_timeout_ns max_timeout_ns msize",
			text);
		return -EINVAL;
	}
	request->target.family = VLY_IP4;
	if (inet_pton(AF_INET, ip, request->target.ip4) != 1 || port < 1 || port > 65535 ||
	    count < 1 || count > CONNECTIONS_MAX || runtime_s < 1 || runtime_s > RUNTIME_MAX_S ||
	    max_ns < min_ns || size < LOAD_SIZE_MIN || size > LOAD_SIZE_MAX) {
		snprintf(why, why_bytes, "'%.100s': a field is out of range", text);
		return -EINVAL;
	}
	request->target.port = (uint16_t)port;
	request->connections = (uint32_t)count;
	request->size_bytes = (uint32_t)size;
	request->runtime_ns = runtime_s * NS_PER_S;
	request->think_min_ns = min_ns;
	request->think_max_ns = max_ns;
	return 0;
}

struct load_params npt_params(const struct npt_request *request)
{
	return (struct load_params){
		.target = request->target,
		.connections = request->connections,
		.connecting_max = CONNECTING_MAX,
		.size_bytes = request->size_bytes,
		.depth = 1,
		.think_min_ns = request->think_min_ns,
		.think_max_ns = request->think_max_ns,
		.duration_ns = request->runtime_ns,
		.plain = true,
	};
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Counts of the histogram by powers of the base; returns how many are not 0. */
static unsigned int regroup(const struct histogram *histogram, uint64_t *buckets)
{
	uint64_t lowest, highest = 0;
	unsigned int used = 0;

	for (uint64_t value = 0; value <= HISTOGRAM_MAX_NS; value = highest + 1) {
		uint64_t count = histogram_count_at(histogram, value, &lowest, &highest);
		double middle = (double)lowest + (double)(highest - lowest) / 2;
		long index = middle < 1 ? 0 : lround(log2(middle) * STEPS_PER_OCTAVE);

		used += count && !buckets[index];
		buckets[index] += count;
	}
	return used;
}

char *npt_reply(const struct load_result *result)
{
	uint64_t buckets[BUCKETS] = {0};
	uint64_t *counts = calloc(result->connections ? result->connections : 1, sizeof(*counts));
	unsigned int used = result->latency.counts ? regroup(&result->latency, buckets) : 0;
	char *text = NULL;
	size_t text_bytes;
	FILE *out = counts ? open_memstream(&text, &text_bytes) : NULL;

	if (!out) {
		free(counts);
		return NULL;
	}
	fprintf(out, "%llu %.12g %u", (unsigned long long)result->messages,
		exp2(1.0 / STEPS_PER_OCTAVE), used);
	for (int i = 0; i < BUCKETS; i++)
		if (buckets[i])
			fprintf(out, " %d %llu", i, (unsigned long long)buckets[i]);
	for (uint32_t i = 0; result->per_conn && i < result->connections; i++)
		counts[i] = result->per_conn[i];
	qsort(counts, result->connections, sizeof(*counts), by_value);
	fprintf(out, " %d", NPT_QUANTILES);
	for (uint64_t q = 1; q <= NPT_QUANTILES; q++)
		fprintf(out, " %llu",
			(unsigned long long)(result->connections
						     ? counts[q * result->connections / 20]
						     : 0));
	fclose(out);
	free(counts);
	return text;
}
