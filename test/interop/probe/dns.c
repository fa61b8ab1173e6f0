/* SPDX-License-Identifier: ISC */
/* An appliance that asks slirp's name server, three times and two seconds apart. */
#include <mirari/mirari.h>

static unsigned answers;

static void on_answer(struct mir_udp *udp, const struct mir_udp_meta *meta,
                      struct mir_buf *buf_given, void *arg)
{
    struct mir_app *app = arg;
    (void)udp;
    (void)meta;
    answers++;
    mir_app_print(app, "answer %u: %u bytes\n", answers, mir_buf_total(buf_given));
    mir_buf_release(buf_given);
}

static int sleep_s(struct mir_app *app, unsigned seconds)
{
    struct mir_wait never;
    mir_wait_init(&never);
    return mir_wait_on(app->loop, &never, mir_loop_now(app->loop) + seconds * MIR_US_PER_S);
}

int mir_app_main(struct mir_app *app)
{
    static const uint8_t query[] = {0x12, 0x34, 1,   0,   0,   1, 0, 0, 0, 0, 0,
                                    0,    3,    'o', 'r', 'g', 0, 0, 2, 0, 1};
    struct mir_endpoint any = {.ip = mir_ip_from_v4(0)};
    struct mir_endpoint names = {.ip = mir_ip_from_v4(0x0a000203), .port = 53};
    struct mir_udp *udp;
    if (mir_udp_open(app->stack, &any, on_answer, app, &udp) < 0)
        return 1;
    for (unsigned i = 0; i < 3; i++) {
        if (mir_udp_send(udp, &names, query, sizeof query) < 0)
            return 2;
        if (sleep_s(app, 2) != -MIR_ETIMEDOUT)
            break;
    }
    mir_udp_close(udp);
    return answers == 3 ? 0 : 3;
}

static const struct mir_manifest_net nets[] = {{.name = "net0", .mode = "user"}};
const struct mir_manifest mir_manifest = {
    .name = "dns-probe", .version = "1", .nets = nets, .net_count = 1};
