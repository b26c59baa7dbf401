/* total.c - what a server says it has seen in its whole life, held against what the load sent */
#include "bench/total.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define LINE_BYTES 64

/* Digits only, as no sign and no blank belongs there; moves `*at` behind them. */
static bool take_number(const char **at, uint64_t *value)
{
	const char *from = *at;

	*value = 0;
	for (; **at >= '0' && **at <= '9'; (*at)++) {
		uint64_t digit = (uint64_t)(**at - '0');
		if (*value > (UINT64_MAX - digit) / 10)
			return false;
		*value = *value * 10 + digit;
	}
	return *at > from;
}

struct total total_parse(const char *line)
{
	struct total total = {.known = false};
	const char *at = line;

	if (strncmp(at, "TOTAL ", 6) != 0)
		return total;
	at += 6;
	if (!take_number(&at, &total.messages) || *at++ != ' ' || !take_number(&at, &total.sum))
		return total;
	total.known = at[strspn(at, " \t\r")] == '\0';
	return total;
}

bool total_agrees(const struct total *seen, const struct total *sent, char *why, size_t why_bytes)
{
	if (!seen->known)
		snprintf(why, why_bytes,
			 "the server did not end with the TOTAL of what its code has seen");
	else if (!sent->known)
		snprintf(why, why_bytes,
			 "messages were under way at the end: the server's TOTAL proves nothing");
	else if (seen->messages != sent->messages)
		snprintf(why, why_bytes,
			 "the server's code saw %" PRIu64 " messages, but %" PRIu64 " were sent",
			 seen->messages, sent->messages);
	else if (seen->sum != sent->sum)
		snprintf(why, why_bytes,
			 "the server's code saw other bytes than were sent: the sum of %" PRIu64
			 " messages is %" PRIu64 ", not %" PRIu64,
			 seen->messages, seen->sum, sent->sum);
	else
		return true;
	return false;
}

/* As text: the sum uses all 64 bits, and JSON's integers are signed here. */
json_t *total_to_json(const struct total *total)
{
	char sum[LINE_BYTES];

	if (!total->known)
		return json_null();
	snprintf(sum, sizeof(sum), "TOTAL %" PRIu64 " %" PRIu64, total->messages, total->sum);
	return json_string(sum);
}

struct total total_from_json(const json_t *json)
{
	const char *text = json_string_value(json);

	return total_parse(text ? text : "");
}
