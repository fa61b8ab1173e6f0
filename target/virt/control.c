/* SPDX-License-Identifier: ISC */
/* The control channel of a machine: a named port of a virtio console device.
 *
 *   mirari run ══ port "mirari.control" ══ dev/console/virtio/port.c ── lib/control/mux.c ── server
 *
 * Several clients share the port (lib/control/line.h); who they are, and what they may do, is for
 * the host's end to say: it is the one that lets them in. A machine without such a port is an
 * appliance without a channel.
 *
 * The recorder comes with it: a run of pages of the machine's memory, found there by its head when
 * the machine is gone. Crash reports are on the console as ever.
 *
 * Only in images whose manifest asks for it: everything here is reached through mir__virt_control,
 * a weak reference, and so are the server and its methods.
 */
#include <mirari/record.h>

#include "dev/console/virtio/port.h"
#include "lib/control/control.h"
#include "lib/control/mux.h"
#include "target/virt/internal.h"

#define DEVICES_MAX 8u

static struct mir_virtio_port port;
static struct mir__mux mux;
static struct mir__control control;
static struct mir_work begin;
static bool has_port, is_serving;
static mir_time_us started_us;
static struct mir_recorder recorder;
static struct mir__source every_wait = {.slot = MIR__SLOTS_MAX};

static uint64_t cpu_us(void)
{
    uint64_t sleeps;
    mir_time_us idle_us = mir__arch_idle_us(&sleeps);
    mir_time_us ran_us = mir__arch_monotonic_us() - started_us;
    return ran_us > idle_us ? ran_us - idle_us : 0;
}

static void on_wake(void *arg)
{
    (void)arg;
    mir_virtio_port_push(&port);
}

static void on_input(void *arg, const void *data, size_t len)
{
    (void)arg;
    if (is_serving)
        mir__mux_input(&mux, data, len);
}

static size_t next_output(void *arg, uint8_t *out, size_t size)
{
    (void)arg;
    return is_serving ? mir__mux_output(&mux, out, size) : 0;
}

/* Whoever opens it begins with a HELLO. */
static void on_change(void *arg, bool is_open)
{
    (void)arg;
    MIR_LOG(TARGET, DEBUG, "control channel: %s by the host", is_open ? "opened" : "closed");
    if (is_serving && !is_open)
        mir__mux_reset(&mux);
}

/* The stack is there, and mir_app_main() has not begun. */
static void serve(void *arg)
{
    struct mir__virt *v = arg;
    mir__control_init(&control,
                      &(struct mir__control_config){
                          .app = &v->app, .net = v->net, .target = "virt", .cpu_us = cpu_us});
    mir_fault_control_serve(&v->faults, &control.server);
    mir__mux_init(&mux, &control.server, on_wake, NULL);
    started_us = v->started_us;
    is_serving = true;
    mir__virtio_serve(v, &port.driver);
}

/* ---- the recorder ---------------------------------------------------------------------------- */

static bool look(void *arg, bool is_interrupted)
{
    (void)arg;
    (void)is_interrupted;
    mir__recorder_step(&recorder);
    return false;
}

static void open_recorder(struct mir__virt *v)
{
    struct mir_io_page *page;
    if (mir_page_alloc(&v->pages, MIR_RECORD_BYTES, MIR_PAGE_ZERO, &page) < 0)
        return;
    mir__recorder_open(&recorder, (struct mir_record *)(void *)page->base, &v->app,
                       mir__arch_monotonic_us(), mir__arch_wall_us());
    every_wait.look = look;
    mir__poll_add(&v->poll, &every_wait);
}

static void close_recorder(void)
{
    if (recorder.record == NULL)
        return;
    mir__poll_remove(&every_wait);
    mir__recorder_close(&recorder, 0);
    recorder.record = NULL; /* its page stays: somebody may look */
}

/* ---- the channel ----------------------------------------------------------------------------- */

static void open_channel(struct mir__virt *v)
{
    struct mir_virtio *virtio;
    int r = -MIR_ENOENT;
    open_recorder(v);
    for (unsigned i = 0; i < DEVICES_MAX && r < 0; i++) {
        virtio = mir__virtio_get(MIR_VIRTIO_CONSOLE, i, NULL);
        if (virtio == NULL)
            break;
        struct mir_virtio_port_config config = {.virtio = virtio,
                                                .name = MIR__LINE_PORT,
                                                .input = on_input,
                                                .output = next_output,
                                                .changed = on_change};
        r = mir_virtio_port_open(&port, &config);
    }
    if (r < 0) {
        MIR_LOG(TARGET, INFO, "no control channel: the machine has no port \"%s\"", MIR__LINE_PORT);
        return;
    }
    has_port = true;
    mir_work_init(&begin, serve, v);
    mir_loop_post(&v->loop, &begin);
}

static bool has_device(const struct mir_virtio *virtio)
{
    return has_port && port.driver.virtio == virtio;
}

/* Answers that are on their way get out, as far as the host takes them at once. */
static void close_channel(void)
{
    close_recorder();
    if (!has_port)
        return;
    if (!is_serving)
        mir_work_cancel(&begin);
    mir_virtio_port_close(&port);
    if (is_serving) {
        mir__mux_reset(&mux);
        mir__control_fini(&control);
    }
    has_port = is_serving = false;
}

const struct mir__virt_control mir__virt_control = {
    .open = open_channel,
    .has = has_device,
    .close = close_channel,
};
