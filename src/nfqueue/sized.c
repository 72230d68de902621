/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Structs of the public API that begin with their size, so that a program and a library of different ages fit.
 * Copies memory, knows no field.
 */
#include <errno.h>
#include <string.h>

#include "internal.h"

/*
 * Takes a caller's struct: what an older caller doesn't know is 0 here, what a newer one knows must be 0 there.
 * `least` is the smallest size that ever was. -EINVAL: too small, or it asks for what this library doesn't know.
 */
int spw_sized_in(void *ours, size_t our_size, const void *theirs, size_t least)
{
	const uint8_t *from = theirs;
	size_t size;

	memcpy(&size, theirs, sizeof(size));
	if (size < least)
		return -EINVAL;
	for (size_t i = our_size; i < size; i++) {
		if (from[i])
			return -EINVAL;
	}
	memset(ours, 0, our_size);
	memcpy(ours, theirs, size < our_size ? size : our_size);
	return 0;
}

/* Gives a struct to a caller who has room for their_size bytes; the size it then carries is what was filled in. */
void spw_sized_out(void *theirs, size_t their_size, const void *ours, size_t our_size)
{
	const size_t size = their_size < our_size ? their_size : our_size;

	memcpy(theirs, ours, size);
	memcpy(theirs, &size, sizeof(size));
}
