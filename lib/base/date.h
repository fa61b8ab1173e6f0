/* SPDX-License-Identifier: ISC */
/* Times as people write them. */
#ifndef LIB_BASE_DATE_H
#define LIB_BASE_DATE_H

#include <mirari/base.h>

/** Room for the text, with its NUL. */
#define MIR__DATE_TEXT_MAX 32u

/** "2026-11-21 23:54:11.482133": @wall_us since 1970, UTC. Returns the length. */
size_t mir__date_text(char *out, size_t size, mir_time_us wall_us);

#endif
