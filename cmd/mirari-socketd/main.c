/* SPDX-License-Identifier: ISC */
/* mirari-socketd: our stack under the sockets of other programs.
 *
 * An appliance like any other, with every option of the command line, in the sandbox; but it also
 * holds one descriptor of this host, a socket that listens for clients, and what they pass. See
 * cmd/socket/proto.h for what they say, socketd.h for the map of the files.
 *
 * It is started by `mirari socket serve`, `mirari socket run`, or anybody who hands over a socket
 * as systemd does (descriptor 3, LISTEN_FDS=1).
 *
 * The end. Asked to, it stops listening, aborts what is open (peers get RST, programs see resets)
 * and leaves. Killed, its descriptors close: programs see the same.
 */
#include "cmd/mirari-socketd/socketd.h"

#include <stdio.h>
#include <stdlib.h>

#include "target/unix/service.h"

#define MEMORY_MIB      256
#define ADDRESS_WAIT_US (10 * MIR_US_PER_S)

static const struct mir_manifest_net nets[] = {{.name = "net0", .mode = "user"}};

static const struct mir_param params[] = {
    {"name", "name of this server, for its clients", MIR_PARAM_STRING, "sockets"},
    {"allow-uid", "users whose programs may connect besides its own: 1000,1001", MIR_PARAM_STRING,
     ""},
};

const struct mir_manifest mir_manifest = {
    .name = "mirari-socketd",
    .version = "1",
    .memory_mib = MEMORY_MIB,
    .nets = nets,
    .net_count = MIR_ARRAY_LEN(nets),
    .params = params,
    .param_count = MIR_ARRAY_LEN(params),
};

struct sd sd = {.listening.fd = MIR__SERVICE_FD};

/* ---- before the sandbox -----------------------------------------------------------------------
 */

static int socket_int(int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(MIR__SERVICE_FD, SOL_SOCKET, name, &value, &len) == 0 ? value : -1;
}

static int prepare(char error[MIR__ERROR_MAX])
{
    const char *given = getenv("LISTEN_FDS");
    sd.uid = getuid();
    if (given == NULL || strcmp(given, "1") != 0 || socket_int(SO_DOMAIN) != AF_UNIX ||
        socket_int(SO_TYPE) != SOCK_SEQPACKET || socket_int(SO_ACCEPTCONN) != 1) {
        snprintf(error, MIR__ERROR_MAX,
                 "no socket to listen on was handed over; start it with: mirari socket serve");
        return -MIR_EINVAL;
    }
    int flags = fcntl(MIR__SERVICE_FD, F_GETFL);
    (void)fcntl(MIR__SERVICE_FD, F_SETFL, flags | O_NONBLOCK);
    (void)fcntl(MIR__SERVICE_FD, F_SETFD, FD_CLOEXEC);
    return 0;
}

/* The limits of the table of sockets, and not those of an appliance with a few ports. */
static void tune(struct mir_net_config *config)
{
    config->tcp_listeners_max = 4096;
    config->udp_sockets_max = SD_SOCKETS_MAX;
}

struct mir__unix_service mir__unix_service = {.prepare = prepare, .tune = tune};

/* ---- the appliance ----------------------------------------------------------------------------
 */

static void open_all(struct mir_app *app)
{
    sd.app = app;
    sd.poll = mir__unix_poll();
    sd.stack = app->stack;
    sd.net = mir__unix_net();
    sd.id = mir_rng_u64(app->rng);
    sd_table_init();
    sd_listen_init();
    sd_resolve_init();
    sd_control_init();
}

static void close_all(void)
{
    sd.poll->ops->remove(sd.poll, &sd.listening);
    close(sd.listening.fd);
    sd_table_fini();
    sd_control_fini();
    sd_resolve_fini();
    sd_listen_fini();
    sd_dgram_fini();
}

int mir_app_main(struct mir_app *app)
{
    struct mir_ip ip;
    open_all(app);
    /* Without an address after a while: programs get the errors of a host without one. */
    if (mir_stack_wait_address(sd.stack, mir_loop_now(app->loop) + ADDRESS_WAIT_US, &ip) < 0)
        MIR_LOG(APP, WARN, "the network has no address yet");
    if (sd.poll->ops->add(sd.poll, &sd.listening) < 0) {
        mir_app_print(app, "cannot watch the control socket\n");
        close_all();
        return 1;
    }
    mir_app_print(app, "socket server: ready\n");
    mir_app_wait_stop(app);
    close_all();
    return 0;
}
