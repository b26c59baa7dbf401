/* replay.c - a fuzzed program without a fuzzer: each file of the corpus, and what is near to it */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/fuzz.h"
#include "tests/sim/rng.h"

#define INPUT_MAX 65536u
#define VARIANTS 2000 /* of each file */

static unsigned long tried;

/* In memory that ends where the input does, so that a sanitizer sees a read behind it. */
static void try_input(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1);

	if (!exact)
		abort();
	memcpy(exact, data, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	tried++;
}

/* Cut off, changed in some bytes, or with a piece twice. */
static void try_variant(const uint8_t *data, size_t size, struct rng *rng)
{
	static uint8_t changed[2 * INPUT_MAX];
	size_t len = size;

	memcpy(changed, data, size);
	for (uint64_t n = rng_below(rng, 4); n > 0 && len; n--)
		changed[rng_below(rng, len)] ^= (uint8_t)(1u << rng_below(rng, 8));
	for (uint64_t n = rng_below(rng, 3); n > 0 && len; n--)
		changed[rng_below(rng, len)] = (uint8_t)rng_next(rng);
	if (rng_chance(rng, 0.2)) {
		len = rng_below(rng, len + 1);
	} else if (rng_chance(rng, 0.1) && len) {
		size_t at = rng_below(rng, len), piece = rng_below(rng, len - at) + 1;

		memmove(changed + at + piece, changed + at, len - at);
		len += piece;
	}
	try_input(changed, len);
}

static int try_file(const char *path)
{
	static uint8_t data[INPUT_MAX];
	FILE *file = fopen(path, "rbe");

	if (!file) {
		perror(path);
		return -1;
	}
	size_t size = fread(data, 1, sizeof(data), file);
	struct rng rng = {size};

	fclose(file);
	try_input(data, size);
	for (unsigned i = 0; i < VARIANTS; i++)
		try_variant(data, size, &rng);
	return 0;
}

static int try_folder(const char *folder)
{
	struct dirent **entries;
	int count = scandir(folder, &entries, NULL, alphasort), failed = 0;
	char path[4096];

	if (count < 0) {
		perror(folder);
		return -1;
	}
	for (int i = 0; i < count; i++) {
		if (entries[i]->d_name[0] != '.') {
			snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
			failed |= try_file(path);
		}
		free(entries[i]);
	}
	free(entries);
	return failed;
}

int main(int argc, char **argv)
{
	int failed = argc < 2;

	for (int i = 1; i < argc; i++)
		failed |= try_folder(argv[i]);
	printf("%lu inputs\n", tried);
	return failed || !tried;
}
