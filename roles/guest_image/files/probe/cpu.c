/*
 * A fixed job for the processor, as the classic one with bc: digits of pi, then their number squared
 * digit by digit. The first half waits for divisions, which an emulator hands on to the processor as
 * they are; the second is loads, products and branches, which it has to translate.
 */
#include "probe.h"

#include <stdio.h>
#include <stdlib.h>

enum { SHOWN = 20, SQUARES = 8, BASE = 10 };

/* What became of the digits so far. */
struct digits {
	uint64_t checksum; /* FNV-1a, 64 bits */
	int64_t count;
	unsigned char *all;
	char shown[SHOWN + 1];
};

static void mix(struct digits *digits, int digit)
{
	digits->checksum = (digits->checksum ^ (uint64_t)digit) * 1099511628211ULL;
}

static void emit(struct digits *digits, int digit)
{
	mix(digits, digit);
	digits->all[digits->count] = (unsigned char)digit;
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

/* Long multiplication by hand, one decimal digit after the other, carries included. */
static void square(struct digits *digits)
{
	const int64_t count = digits->count;
	unsigned char *product = calloc((size_t)(2 * count + 1), 1);

	if (!product)
		fail("memory");
	for (int64_t i = 0; i < count && !stopped; i++) {
		unsigned carry = 0;

		for (int64_t j = 0; j < count; j++) {
			unsigned value = product[i + j] + carry;

			value += (unsigned)digits->all[count - 1 - i] * digits->all[count - 1 - j];
			carry = value / BASE;
			product[i + j] = (unsigned char)(value - carry * BASE);
		}
		product[i + count] = (unsigned char)carry;
	}
	/* The middle of the product is the next number: as long as this one, and full of digits. */
	for (int64_t i = 0; i < count; i++) {
		digits->all[i] = product[i + count / 2];
		mix(digits, digits->all[i]);
	}
	free(product);
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

	/* A run of nines at the end may come out as one digit more. */
	digits.all = calloc((size_t)work + 1, 1);
	if (!digits.all)
		fail("memory");
	spigot(work, &digits);
	for (int round = 0; round < SQUARES; round++)
		square(&digits);
	free(digits.all);

	const int64_t took = now_ns(CLOCK_MONOTONIC) - began;

	printf("{\"work\": %lld, \"seconds\": %.6f, \"cpu_seconds\": %.6f, "
	       "\"checksum\": \"%016llx\", \"digits\": \"%s\", \"interrupted\": %s}\n",
	       (long long)work, seconds(took), seconds(now_ns(CLOCK_PROCESS_CPUTIME_ID)),
	       (unsigned long long)digits.checksum, digits.shown, json_bool(stopped));
	return 0;
}
