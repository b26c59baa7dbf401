/* agenda.c - which of many things is due next: a heap */
#include "bench/agenda.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define WAYS 4

int agenda_init(struct agenda *agenda, uint32_t size)
{
	agenda->entries = malloc((size_t)size * sizeof(*agenda->entries));
	agenda->count = 0;
	agenda->size = size;
	return agenda->entries ? 0 : -ENOMEM;
}

void agenda_fini(struct agenda *agenda)
{
	free(agenda->entries);
	*agenda = (struct agenda){.entries = NULL};
}

void agenda_push(struct agenda *agenda, uint64_t due_ns, uint32_t index)
{
	struct agenda_entry *entries = agenda->entries;
	uint32_t at = agenda->count++;

	assert(at < agenda->size);
	while (at) {
		uint32_t parent = (at - 1) / WAYS;

		if (entries[parent].due_ns <= due_ns)
			break;
		entries[at] = entries[parent];
		at = parent;
	}
	entries[at] = (struct agenda_entry){.due_ns = due_ns, .index = index};
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

uint32_t agenda_pop(struct agenda *agenda)
{
	struct agenda_entry *entries = agenda->entries;
	struct agenda_entry last;
	uint32_t index, at = 0;

	assert(agenda->count > 0);
	index = entries[0].index;
	last = entries[--agenda->count];
	for (;;) {
		uint32_t child = first_child(agenda, at);

		if (child == agenda->count || entries[child].due_ns >= last.due_ns)
			break;
		entries[at] = entries[child];
		at = child;
	}
	entries[at] = last;
	return index;
}

bool agenda_valid(const struct agenda *agenda)
{
	for (uint32_t i = 1; i < agenda->count; i++)
		if (agenda->entries[i].due_ns < agenda->entries[(i - 1) / WAYS].due_ns)
			return false;
	return agenda->count <= agenda->size;
}
