/* SPDX-License-Identifier: ISC */
/* The tool's end of a machine's control channel: a machine that says anything, and clients that
 * come, go and do not read, over sockets of the kernel.
 *
 *   bytes      op argument...
 *   op % 8     0   the machine answers the HELLO: version
 *              1   DATA: session, length, bytes
 *              2   CREDIT: session, bytes in units of 64
 *              3   CLOSE: session, length, text; or a frame of any kind
 *              4   bytes on the line: length, bytes
 *              5   a client comes: to which socket
 *              6   a client writes, reads, shuts its end down or leaves: which, how
 *              7   the machine reads what is there, or ends the line
 *
 * What is kept for clients and for the machine is bounded whatever they do, what the machine is
 * told must be frames, and after it no descriptor is left.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <mirari/bytes.h>
#include <mirari/rpc.h>

#include "cmd/mirari/vm.h"
#include "test/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CLIENTS 16u
#define KEPT    (40u << 10)  /* for a client: its window, and a refusal */
#define LINE    (160u << 10) /* for the machine */

static char folder[] = "/tmp/mirari-vm-control-XXXXXX";
static char paths[2][64];
static struct vm vm;
static struct state state = {.base_fd = -1, .fd = -1};
static struct vm_control control;
static int machine, clients[CLIENTS];
static uint8_t nonce[8];
static struct mir__line_in in;

static struct fuzz_input source;

/* ---- the machine ------------------------------------------------------------------------------
 */

static void tool_says(void *arg, const struct mir__line_frame *f)
{
    (void)arg;
    if (f->kind < MIR__LINE_IS_HELLO || f->kind > MIR__LINE_IS_CLOSE ||
        f->session >= MIR__LINE_SESSIONS)
        abort();
    if (f->kind == MIR__LINE_IS_HELLO && f->len == MIR__LINE_HELLO)
        memcpy(nonce, f->payload + 1, sizeof nonce);
}

static void hear(void)
{
    static uint8_t bytes[65536];
    ssize_t got;
    while (machine >= 0 && (got = recv(machine, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        mir__line_take(&in, bytes, (size_t)got, tool_says, NULL);
    if (in.dropped > 0)
        abort();
}

static void say_bytes(const uint8_t *bytes, size_t len)
{
    if (machine >= 0)
        (void)!send(machine, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void frame(unsigned kind, uint8_t session, const void *payload, size_t len)
{
    static uint8_t bytes[2 + 2 * (MIR__LINE_HEADER + MIR__LINE_MAX)];
    const struct mir__line_frame f = {
        .kind = (uint8_t)kind, .session = session, .payload = payload, .len = (uint32_t)len};
    say_bytes(bytes, mir__line_put(bytes, &f));
}

static void say(uint8_t op)
{
    uint8_t payload[MIR__LINE_HELLO], session = fuzz_u8(&source);
    const uint8_t *bytes;
    size_t len;
    if (op == 0) {
        hear();
        payload[0] = session == 255 ? 0 : MIR__LINE_VERSION;
        memcpy(payload + 1, nonce, sizeof nonce);
        frame(MIR__LINE_IS_HELLO, 0, payload, sizeof payload);
    } else if (op == 1) {
        bytes = fuzz_bytes(&source, MIR__LINE_MAX, &len);
        frame(MIR__LINE_IS_DATA, session % 9, bytes, len);
    } else if (op == 2) {
        mir_put_be32(payload, fuzz_u8(&source) * 64u);
        frame(MIR__LINE_IS_CREDIT, session % 9, payload, 4);
    } else {
        unsigned kind = session < 192 ? MIR__LINE_IS_CLOSE : fuzz_u8(&source) % 8;
        bytes = fuzz_bytes(&source, kind == MIR__LINE_IS_CLOSE ? 110 : MIR__LINE_MAX, &len);
        frame(kind, session % 9, bytes, len);
    }
}

/* ---- clients ----------------------------------------------------------------------------------
 */

static void come(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t i = 0;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", paths[fuzz_u8(&source) & 1]);
    while (i < CLIENTS && clients[i] >= 0)
        i++;
    if (i == CLIENTS)
        return;
    clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(clients[i], (struct sockaddr *)&address, sizeof address) == 0)
        return;
    close(clients[i]);
    clients[i] = -1;
}

static void use(void)
{
    static uint8_t bytes[65536];
    int *client = &clients[fuzz_u8(&source) % CLIENTS];
    uint8_t how = fuzz_u8(&source);
    if (*client < 0)
        return;
    if (how < 100) {
        (void)!send(*client, bytes, how * 200u + 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    } else if (how < 200) {
        (void)!recv(*client, bytes, sizeof bytes, MSG_DONTWAIT);
    } else if (how < 220) {
        (void)shutdown(*client, how % 3);
    } else {
        close(*client);
        *client = -1;
    }
}

/* ---- the tool ---------------------------------------------------------------------------------
 */

static void turn(void)
{
    struct pollfd fds[VM_CONTROL_FDS];
    vm_control_watch(&control, fds);
    if (poll(fds, VM_CONTROL_FDS, 0) < 0)
        abort();
    vm_control_serve(&control, fds);
    if (control.out.len > LINE)
        abort();
    for (size_t i = 0; i < MIR__LINE_SESSIONS; i++)
        if (control.client[i].out.len > KEPT)
            abort();
}

static void run_one(void)
{
    uint8_t op = fuzz_u8(&source) % 8;
    if (op == 4) {
        size_t len;
        const uint8_t *bytes = fuzz_bytes(&source, 4096, &len);
        say_bytes(bytes, len);
    } else if (op == 5) {
        come();
    } else if (op == 6) {
        use();
    } else if (op == 7 && fuzz_u8(&source) < 250) {
        hear();
    } else if (op == 7) {
        hear();
        if (machine >= 0)
            close(machine);
        machine = -1;
    } else {
        say(op);
    }
}

static void remove_folder(void)
{
    (void)rmdir(folder);
}

static void prepare(void)
{
    static bool is_prepared;
    if (is_prepared)
        return;
    is_prepared = true;
    /* What the tool complains of is not for whoever runs this. */
    stderr = fopen("/dev/null", "we");
    if (stderr == NULL || mkdtemp(folder) == NULL)
        abort();
    (void)atexit(remove_folder);
    for (size_t i = 0; i < 2; i++)
        snprintf(paths[i], sizeof paths[i], "%s/%zu", folder, i);
}

static int lowest_free(void)
{
    int fd = fcntl(0, F_DUPFD_CLOEXEC, 3);
    if (fd >= 0)
        close(fd);
    return fd;
}

static void open_all(void)
{
    int line[2];
    memset(&in, 0, sizeof in);
    for (size_t i = 0; i < CLIENTS; i++)
        clients[i] = -1;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, line) < 0)
        abort();
    machine = fcntl(line[1], F_DUPFD_CLOEXEC, 3); /* the other goes: QEMU has one of its own */
    vm = (struct vm){.line = {line[0], line[1]},
                     .control_path = paths[MIR_RPC_FULL],
                     .control_ro_path = paths[MIR_RPC_READ_ONLY]};
    vm_control_open(&control, &vm, &state);
    if (control.listener[0] < 0 || control.listener[1] < 0)
        abort();
}

static void close_all(void)
{
    if (machine >= 0)
        close(machine);
    vm_control_close(&control);
    for (size_t i = 0; i < CLIENTS; i++)
        if (clients[i] >= 0)
            close(clients[i]);
    /* The process ends here otherwise. */
    for (size_t i = 0; i < MIR__LINE_SESSIONS; i++)
        str_free(&control.client[i].out);
    str_free(&control.out);
    free(control.in);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    prepare();
    int before = lowest_free();
    source = (struct fuzz_input){.at = data, .left = size};
    open_all();
    while (source.left > 0) {
        run_one();
        turn();
    }
    turn();
    close_all();
    if (lowest_free() != before)
        abort();
    return 0;
}
