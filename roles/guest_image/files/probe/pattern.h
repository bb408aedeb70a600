/* What stands in a page follows from the number of its write. */
#ifndef ORRERY_PATTERN_H
#define ORRERY_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

enum { PAGE = 4096, MB = 1 << 20, PAGES_PER_MB = MB / PAGE };

/* Write the words of the n-th write: a page that no compression and no delta makes smaller. */
void fill_page(volatile uint64_t *page, int64_t number);

/* Whether a page holds them. */
bool holds_page(const uint64_t *page, int64_t number);

/* The number of a page's last write where pages are written in turns; -1 where there was none. */
int64_t last_write(int64_t page, int64_t pages, int64_t written);

#endif
