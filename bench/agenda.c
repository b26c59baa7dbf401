/* agenda.c - which of many things is due next: a line of those that came in order, and a heap */
#include "bench/agenda.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define WAYS 4

int agenda_init(struct agenda *agenda, uint32_t size)
{
	uint32_t places = 1;

	while (places < size)
		places *= 2;
	*agenda = (struct agenda){
		.entries = malloc((size_t)size * sizeof(*agenda->entries)),
		.line = malloc((size_t)places * sizeof(*agenda->line)),
		.size = size,
		.line_mask = places - 1,
	};
	if (agenda->entries && agenda->line)
		return 0;
	agenda_fini(agenda);
	return -ENOMEM;
}

void agenda_fini(struct agenda *agenda)
{
	free(agenda->entries);
	free(agenda->line);
	*agenda = (struct agenda){.entries = NULL};
}

/* Whether it has joined the end of the line. */
static bool queue(struct agenda *agenda, struct agenda_entry entry)
{
	uint32_t end = agenda->line_head + agenda->line_count;

	if (agenda->line_count && agenda->line[(end - 1) & agenda->line_mask].due_ns > entry.due_ns)
		return false;
	agenda->line[end & agenda->line_mask] = entry;
	agenda->line_count++;
	return true;
}

static uint32_t leave_line(struct agenda *agenda)
{
	uint32_t index = agenda->line[agenda->line_head].index;

	agenda->line_head = (agenda->line_head + 1) & agenda->line_mask;
	agenda->line_count--;
	return index;
}

static void rise(struct agenda *agenda, struct agenda_entry entry)
{
	struct agenda_entry *entries = agenda->entries;
	uint32_t at = agenda->count++;

	while (at) {
		uint32_t parent = (at - 1) / WAYS;

		if (entries[parent].due_ns <= entry.due_ns)
			break;
		entries[at] = entries[parent];
		at = parent;
	}
	entries[at] = entry;
}

void agenda_push(struct agenda *agenda, uint64_t due_ns, uint32_t index)
{
	struct agenda_entry entry = {.due_ns = due_ns, .index = index};

	assert(agenda->count + agenda->line_count < agenda->size);
	if (!queue(agenda, entry))
		rise(agenda, entry);
}

/* The child of `at` that is due first; `count` if it has none. */
static uint32_t first_child(const struct agenda *agenda, uint32_t at)
{
	const struct agenda_entry *entries = agenda->entries;
	uint32_t begin = at * WAYS + 1, end = begin + WAYS;
	uint32_t first = begin;

	if (begin >= agenda->count)
		return agenda->count;
	if (end > agenda->count)
		end = agenda->count;
	for (uint32_t i = begin + 1; i < end; i++)
		if (entries[i].due_ns < entries[first].due_ns)
			first = i;
	return first;
}

/* From the top down to where nothing below it is due earlier. */
static void sink(struct agenda *agenda, struct agenda_entry entry)
{
	struct agenda_entry *entries = agenda->entries;
	uint32_t at = 0;

	for (;;) {
		uint32_t child = first_child(agenda, at);

		if (child == agenda->count || entries[child].due_ns >= entry.due_ns)
			break;
		entries[at] = entries[child];
		at = child;
	}
	entries[at] = entry;
}

static uint32_t leave_heap(struct agenda *agenda)
{
	uint32_t index = agenda->entries[0].index;

	agenda->count--;
	sink(agenda, agenda->entries[agenda->count]);
	return index;
}

uint32_t agenda_pop(struct agenda *agenda)
{
	assert(agenda->count + agenda->line_count > 0);
	return agenda_line_first(agenda) ? leave_line(agenda) : leave_heap(agenda);
}

void agenda_delay(struct agenda *agenda, uint64_t due_ns)
{
	struct agenda_entry entry = {.due_ns = due_ns, .index = agenda_first(agenda)};

	assert(agenda->count + agenda->line_count > 0);
	if (agenda_line_first(agenda)) {
		leave_line(agenda);
		if (!queue(agenda, entry))
			rise(agenda, entry);
	} else if (queue(agenda, entry)) {
		leave_heap(agenda);
	} else {
		sink(agenda, entry);
	}
}

bool agenda_valid(const struct agenda *agenda)
{
	for (uint32_t i = 1; i < agenda->count; i++)
		if (agenda->entries[i].due_ns < agenda->entries[(i - 1) / WAYS].due_ns)
			return false;
	for (uint32_t i = 1; i < agenda->line_count; i++)
		if (agenda->line[(agenda->line_head + i) & agenda->line_mask].due_ns <
		    agenda->line[(agenda->line_head + i - 1) & agenda->line_mask].due_ns)
			return false;
	return agenda->count + agenda->line_count <= agenda->size;
}
