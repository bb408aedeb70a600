/* A fixed job for the processor: digits of pi in whole numbers, as the classic job with bc. */
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>

enum { SHOWN = 20 };

/* What became of the digits so far. */
struct digits {
	uint64_t checksum; /* FNV-1a, 64 bits */
	int64_t count;
	char shown[SHOWN + 1];
};

static void emit(struct digits *digits, int digit)
{
	digits->checksum = (digits->checksum ^ (uint64_t)digit) * 1099511628211ULL;
	if (digits->count < SHOWN)
		digits->shown[digits->count] = (char)('0' + digit);
	digits->count++;
}

/* The spigot of Rabinowitz and Wagon (1995): time grows with the square of `work`. */
static void spigot(int64_t work, struct digits *digits)
{
	const int64_t length = work * 10 / 3 + 2;
	int64_t *terms = malloc((size_t)length * sizeof *terms);
	int64_t nines = 0;
	int held = -1; /* the digit that a carry may still raise */

	if (!terms)
		fail("memory");
	for (int64_t i = 0; i < length; i++)
		terms[i] = 2;
	for (int64_t step = 0; step < work && !stopped; step++) {
		int64_t carry = 0;

		for (int64_t i = length - 1; i > 0; i--) {
			const int64_t value = terms[i] * 10 + carry * (i + 1);

			terms[i] = value % (2 * i + 1);
			carry = value / (2 * i + 1);
		}

		const int64_t value = terms[0] * 10 + carry;
		const int digit = (int)(value / 10);

		terms[0] = value % 10;
		if (digit == 9) {
			nines++;
			continue;
		}
		if (held >= 0)
			emit(digits, held + (digit == 10));
		for (; nines > 0; nines--)
			emit(digits, digit == 10 ? 0 : 9);
		held = digit == 10 ? 0 : digit;
	}
	if (held >= 0)
		emit(digits, held);
	for (; nines > 0; nines--)
		emit(digits, 9);
	free(terms);
}

int cpu(int argc, char **argv)
{
	int64_t work = 0;
	const struct option options[] = {
		{.name = "work", .required = true, .number = &work, .low = 1, .high = 50000},
		{.name = NULL},
	};
	struct digits digits = {.checksum = 14695981039346656037ULL};

	read_options(argc, argv, options);

	const int64_t began = now_ns(CLOCK_MONOTONIC);

	spigot(work, &digits);

	const int64_t took = now_ns(CLOCK_MONOTONIC) - began;

	printf("{\"work\": %lld, \"seconds\": %.6f, \"cpu_seconds\": %.6f, "
	       "\"checksum\": \"%016llx\", \"digits\": \"%s\", \"interrupted\": %s}\n",
	       (long long)work, seconds(took), seconds(now_ns(CLOCK_PROCESS_CPUTIME_ID)),
	       (unsigned long long)digits.checksum, digits.shown, json_bool(stopped));
	return 0;
}
