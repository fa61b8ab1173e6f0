/* SPDX-License-Identifier: ISC */
/* Fuzzes the command line of an appliance: each line of the input is an argument. */
#include <stdlib.h>
#include <string.h>

#include "dev/net/fault/fault.h"
#include "lib/app/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct mir_manifest_net nets[] = {
    {.name = "front", .mode = "user", .forward = "8080:80"},
    {.name = "back", .mode = "tap", .ip = "10.1.0.2/16"},
};
static const struct mir_param params[] = {
    {"port", "TCP port", MIR_PARAM_INT, "80"},
    {"greeting", "what is said", MIR_PARAM_STRING, "hello"},
    {"verbose", "say more", MIR_PARAM_BOOL, "false"},
};
static const struct mir_manifest manifest = {
    .name = "fuzz",
    .version = "1",
    .nets = nets,
    .net_count = 2,
    .params = params,
    .param_count = 3,
};

#define ARGS_MAX 64

/* What was accepted must hold together. */
static void check_accepted(const struct mir__app_options *o)
{
    struct mir_fault_spec spec;
    char error[MIR_FAULT_ERROR_MAX];
    int64_t number;
    if (o->forward_count > MIR__APP_FORWARDS_MAX || o->net_count != 2 || o->memory_mib < 4)
        abort();
    for (uint32_t i = 0; i < o->forward_count; i++) {
        if (o->forward[i].net >= 2 || o->forward[i].port == 0 || o->forward[i].host_port == 0)
            abort();
    }
    for (uint32_t i = 0; i < o->net_count; i++) {
        const struct mir__app_net *net = &o->net[i];
        if ((net->has_ip && net->use_dhcp) || (net->has_mac && net->mac[0] & 1))
            abort();
        if (net->fault != NULL && mir_fault_parse(net->fault, &spec, error) == 0 &&
            (spec.rule[0].loss_ppm > MIR_FAULT_PPM || spec.rule[1].dup_ppm > MIR_FAULT_PPM))
            abort();
    }
    for (uint32_t i = 0; i < 3; i++) {
        if (!mir__app_param_value(params[i].type, o->param_values[i], &number))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct mir__app_options options;
    const char *argv[ARGS_MAX] = {"fuzz"};
    int argc = 1;
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    for (char *at = text; at < text + size && argc < ARGS_MAX;) {
        char *end = strchr(at, '\n');
        argv[argc++] = at;
        if (end == NULL)
            break;
        *end = '\0';
        at = end + 1;
    }
    int r = mir__app_options_parse(&options, &manifest, argc, argv);
    if (r == 0)
        check_accepted(&options);
    else if (options.error[0] == '\0' || memchr(options.error, '\0', MIR__APP_ERROR_MAX) == NULL)
        abort();
    free(text);
    return 0;
}
