/* Pages whose content can be checked. */
#include "pattern.h"

enum { WORDS = PAGE / 8 };

/* xorshift64 (Marsaglia 2003). */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint64_t seed(int64_t number)
{
	return 88172645463325252ULL ^ ((uint64_t)number + 1) << 20;
}

void fill_page(volatile uint64_t *page, int64_t number)
{
	uint64_t state = seed(number);

	for (int i = 0; i < WORDS; i++)
		page[i] = next_random(&state);
}

bool holds_page(const uint64_t *page, int64_t number)
{
	uint64_t state = seed(number);

	for (int i = 0; i < WORDS; i++)
		if (page[i] != next_random(&state))
			return false;
	return true;
}

int64_t last_write(int64_t page, int64_t pages, int64_t written)
{
	const int64_t times = written / pages + (page < written % pages);

	return times ? (times - 1) * pages + page : -1;
}
