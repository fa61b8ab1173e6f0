/* SPDX-License-Identifier: ISC */
/* What a target must provide to the libraries as symbols. Everything else is passed as data. */
#ifndef MIRARI_PLATFORM_H
#define MIRARI_PLATFORM_H

#include <mirari/base.h>

/** Print @text (one line, borrowed) and end with the target's crash status. */
MIR_NORETURN void mir_platform_abort(const char *text);

#endif
