/* SPDX-License-Identifier: ISC */
/* Images of target virt in fewer bytes. */
#ifndef CMD_MIRARI_PACK_H
#define CMD_MIRARI_PACK_H

#include "cmd/mirari/tool.h"

/** More than this is not packed: by far the most of such an image is what it serves. */
#define PACK_MAX ((size_t)16 << 20)

/** Append [len] bytes, at most PACK_MAX, to @out as sequences of the LZ4 block format, the last of
 * them literals without a distance. */
void pack_bytes(const unsigned char *bytes, size_t len, struct str *out);
/** The reverse, of what pack_bytes() wrote or anything else: false if that is not what [len] bytes
 *  become. */
bool pack_is(const struct str *packed, const unsigned char *bytes, size_t len);

/** Write the packed form of @image beside it, as IMAGE.packed, if there is none of it yet; none is
 * left if it is too large. Returns 0, or EXIT_FAIL after a message. */
int pack_image(const char *image);

#endif
