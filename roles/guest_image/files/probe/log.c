/* Logs of probes: entries of fixed size, in the byte order of x86, in a file or nowhere. */
#include "log.h"
#include "probe.h"

#include <stdio.h>

/* Large enough that writing seldom comes between two beats. */
enum { BUFFER = 1 << 16 };

FILE *log_open(const char *path)
{
	static char buffer[BUFFER];
	FILE *log;

	if (!path)
		return NULL;
	log = fopen(path, "wb");
	if (!log)
		fail(path);
	setvbuf(log, buffer, _IOFBF, sizeof buffer);
	return log;
}

void log_entry(FILE *log, const void *entry, size_t size)
{
	if (log && fwrite(entry, size, 1, log) != 1)
		fail("log");
}

void log_close(FILE *log)
{
	if (log && fclose(log))
		fail("log");
}
