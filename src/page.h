/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Mapping the pages that processes share; each is a memfd of fixed size, made by the keeper. Maps, and looks at nothing
 * in them.
 */
#ifndef SPW_PAGE_H
#define SPW_PAGE_H

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* Maps a page that somebody else has made, shared; `prot` as of mmap(). NULL and errno: EPROTO: it is not of this size.
 */
static inline void *page_map(int fd, size_t size, int prot)
{
	struct stat st;
	void *p;

	if (fstat(fd, &st))
		return NULL;
	if (st.st_size != (off_t)size) {
		errno = EPROTO;
		return NULL;
	}
	p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

#endif
