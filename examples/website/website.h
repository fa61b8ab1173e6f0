/* SPDX-License-Identifier: ISC */
/* The handlers of the website example. */
#ifndef WEBSITE_H
#define WEBSITE_H

#include <mirari/mirari.h>

/** Before the server is opened: memory for requests. Returns 0 or an error. */
int init_handlers(struct mir_app *app) MIR_CHECK;
/** After the server was closed. */
void fini_handlers(void);

void answer_bytes(struct mir_http_exchange *exchange, void *arg);
void answer_upload(struct mir_http_exchange *exchange, void *arg);

#endif
