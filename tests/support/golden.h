/* golden.h - golden values of the bench's statistics, and a source of normal values for simulations */
#ifndef VLY_TESTS_GOLDEN_H
#define VLY_TESTS_GOLDEN_H

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#define GOLDEN_TOLERANCE 1e-9 /* relative */
#define GOLDEN_VALUES_MAX 64

/* The whole file; to be given to json_decref(). */
static inline json_t *golden_load(void)
{
	json_error_t error;
	json_t *golden = json_load_file(VLY_TEST_DATA "/stats_golden.json", 0, &error);

	cr_assert_not_null(golden, "%s", error.text);
	return golden;
}

static inline double golden_number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	cr_assert(json_is_number(value), "no number %s", key);
	return json_number_value(value);
}

/* Copies an array of numbers; returns how many there are. */
static inline size_t golden_numbers(const json_t *object, const char *key, double *values)
{
	const json_t *array = json_object_get(object, key);
	size_t count = json_array_size(array);

	cr_assert(count > 0 && count <= GOLDEN_VALUES_MAX, "%zu values in %s", count, key);
	for (size_t i = 0; i < count; i++)
		values[i] = json_number_value(json_array_get(array, i));
	return count;
}

static inline void golden_expect(double found, double wanted, const char *what, size_t index)
{
	cr_assert(fabs(found - wanted) <= GOLDEN_TOLERANCE * fabs(wanted),
		  "%s of case %zu: %.17g, scipy has %.17g", what, index, found, wanted);
}

/* As far as it can matter: of a p value of 1e-13 GSL and scipy agree in 7 digits. */
static inline void golden_expect_p(double found, double wanted, const char *what, size_t index)
{
	cr_assert(fabs(found - wanted) <= GOLDEN_TOLERANCE * fmax(wanted, 1e-6),
		  "%s of case %zu: %.17g, scipy has %.17g", what, index, found, wanted);
}

/* Uniform in (0, 1): splitmix64, so that a simulation is the same everywhere. */
static inline double golden_uniform(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return ((double)((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53;
}

/* Standard normal (Box and Muller). */
static inline double golden_normal(uint64_t *state)
{
	double radius = sqrt(-2 * log(golden_uniform(state)));

	return radius * cos(2 * M_PI * golden_uniform(state));
}

#endif
