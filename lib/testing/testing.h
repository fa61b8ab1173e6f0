/* SPDX-License-Identifier: ISC */
/* Parts of the test methods: kit.c the table and small ones, serve.c servers, tcp.c udp.c get.c
 * clients, resolve.c names. Not public. */
#ifndef LIB_TESTING_TESTING_H
#define LIB_TESTING_TESTING_H

#include <mirari/rpc.h>
#include <mirari/testing.h>

#define MIR__TESTING_SERVICES_MAX 8u

struct mir__testing;

/** A port that is answered on. */
struct mir__testing_service {
    struct mir__testing *kit;
    struct mir_tcp_listener *listener; /* NULL: UDP */
    struct mir_udp *udp;
    uint16_t port;
    bool is_discard;
    uint64_t connections, bytes, datagrams, failed;
};

struct mir__testing {
    struct mir_app *app;
    struct mir_rpc_methods methods;
    struct mir_app_hook bye;
    struct mir__testing_service service[MIR__TESTING_SERVICES_MAX];
    uint32_t service_count;
};

/** A call that goes on: in a page of its own, which call->state points to. */
struct mir__testing_job {
    struct mir_rpc_call *call;
    struct mir__testing *kit;
    struct mir_io_page *page;
    struct mir_endpoint to;
    mir_time_us began_us;
    int err;
    bool is_over;
};

/** Make a job of @size bytes with a job in front, and its parameter "to" if it has one. Returns 0
 *  or an error that was told. */
int mir__testing_job_open(struct mir_rpc_call *call, size_t size,
                          struct mir__testing_job **job) MIR_CHECK;
void mir__testing_job_close(struct mir_rpc_call *call);
struct mir__testing_job *mir__testing_job_of(const struct mir_rpc_call *call);
/** It is done; more() of its method is called. */
void mir__testing_job_over(struct mir__testing_job *job, int err);
/** Microseconds since it began. */
uint64_t mir__testing_job_us(const struct mir__testing_job *job);

/** Bytes @at .. @at + len - 1 of the pattern that clients send. */
void mir__testing_pattern(uint64_t at, uint8_t *out, size_t len);
/** How many of [len] bytes are not as they were sent. */
uint32_t mir__testing_wrong(uint64_t at, const uint8_t *data, size_t len);
/** "10.0.0.1:7", "[fd00::1]:7". */
bool mir__testing_endpoint(const char *text, struct mir_endpoint *ep);

int mir__testing_serve(struct mir_rpc_call *call);
int mir__testing_services(struct mir_rpc_call *call);
void mir__testing_unserve(struct mir__testing *kit);
int mir__testing_tcp_begin(struct mir_rpc_call *call); /* test.echo, test.send */
int mir__testing_tcp_more(struct mir_rpc_call *call);
void mir__testing_tcp_end(struct mir_rpc_call *call);
int mir__testing_udp_begin(struct mir_rpc_call *call);
int mir__testing_udp_more(struct mir_rpc_call *call);
void mir__testing_udp_end(struct mir_rpc_call *call);
int mir__testing_get_begin(struct mir_rpc_call *call);
int mir__testing_get_more(struct mir_rpc_call *call);
void mir__testing_get_end(struct mir_rpc_call *call);
int mir__testing_resolve_begin(struct mir_rpc_call *call);
int mir__testing_resolve_more(struct mir_rpc_call *call);
void mir__testing_resolve_end(struct mir_rpc_call *call);

#endif
