/* SPDX-License-Identifier: ISC */
/* Addresses of a name, asked of the servers that the appliance knows or of one that the call names.
 * Each call has a resolver of its own, so nothing comes from a cache. */
#include <mirari/dns.h>

#include "lib/testing/testing.h"

struct resolve_job {
    struct mir__testing_job job; /* first */
    struct mir_dns *dns;
    struct mir_dns_lookup lookup;
    struct mir_dns_addresses found;
};

static void on_found(void *arg, int error, const struct mir_dns_addresses *addresses)
{
    struct resolve_job *job = arg;
    if (error == 0)
        job->found = *addresses;
    mir__testing_job_over(&job->job, error);
}

static int open_dns(struct mir_rpc_call *call, struct resolve_job *job)
{
    struct mir_dns_config config = {.server_count = 0};
    char server[80];
    int r = mir_rpc_text(call, "server", server, sizeof server);
    if (r == 0) {
        if (!mir__testing_endpoint(server, &config.servers[0]))
            return mir_rpc_fail(call, -MIR_EINVAL, "server: write ADDRESS:PORT");
        config.server_count = 1;
    }
    return mir_app_dns_open(job->job.kit->app, &config, &job->dns);
}

int mir__testing_resolve_begin(struct mir_rpc_call *call)
{
    struct mir__testing_job *job;
    char name[256];
    int r = mir_rpc_text(call, "name", name, sizeof name);
    if (r < 0)
        return r;
    r = mir__testing_job_open(call, sizeof(struct resolve_job), &job);
    if (r < 0)
        return r;
    struct resolve_job *resolve = (struct resolve_job *)(void *)job;
    r = open_dns(call, resolve);
    if (r < 0) {
        mir__testing_job_close(call);
        return r;
    }
    r = mir_dns_lookup(&resolve->lookup, resolve->dns, name, MIR_TIME_NEVER, on_found, resolve);
    if (r < 0) {
        mir_dns_close(resolve->dns);
        mir__testing_job_close(call);
        return mir_rpc_fail(call, r, "\"%s\": %s", name, mir_strerror(r));
    }
    return -MIR_EAGAIN;
}

int mir__testing_resolve_more(struct mir_rpc_call *call)
{
    struct resolve_job *job = (struct resolve_job *)(void *)mir__testing_job_of(call);
    char text[MIR_IP_TEXT_MAX];
    if (!job->job.is_over)
        return -MIR_EAGAIN;
    if (job->job.err < 0)
        return job->job.err;
    struct mir_json_out *out = mir_rpc_result(call);
    mir_json_begin(out, '{');
    mir_json_key(out, "addresses");
    mir_json_begin(out, '[');
    for (uint32_t i = 0; i < job->found.count; i++)
        mir_json_put_text(out, mir_ip_text(&job->found.ip[i], text));
    mir_json_end(out, ']');
    mir_json_member_u64(out, "us", mir__testing_job_us(&job->job));
    mir_json_end(out, '}');
    return 0;
}

void mir__testing_resolve_end(struct mir_rpc_call *call)
{
    struct resolve_job *job = (struct resolve_job *)(void *)mir__testing_job_of(call);
    if (!job->job.is_over)
        mir_dns_lookup_cancel(&job->lookup);
    mir_dns_close(job->dns);
    mir__testing_job_close(call);
}
