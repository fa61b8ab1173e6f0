/* SPDX-License-Identifier: ISC */
/* A vchan whose peer does what the input says: writes anywhere in the shared memory at any moment,
 * before and after our calls. One end is ours, server or client; nothing crashes, no byte outside
 * the rings is touched, what is returned fits, and a peer that broke the rules once is heard no
 * more. */
#include <stdlib.h>
#include <string.h>

#include <mirari/vchan.h>

#include "dev/channel/pipe/pipe.h"
#include "test/fuzz/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEPS 200u

static struct mir_loop loop;
static struct mir_channel_pipe pipe_;
static struct mir_vchan server, client;
static uint8_t buffer[1 << 16];

/* Somewhere in the words of the first page, mostly; else anywhere. */
static void scribble(struct fuzz_input *in, uint8_t *memory, size_t bytes)
{
    uint8_t where = fuzz_u8(in);
    size_t at = where < 200 ? where % 32u : fuzz_u16(in) % bytes;
    memory[at] = fuzz_u8(in);
}

static void call(struct fuzz_input *in, struct mir_vchan *v, uint8_t op)
{
    size_t want = fuzz_u16(in), n = 0;
    const void *there;
    void *room;
    bool was_faulty = mir_vchan_state(v) >= MIR_VCHAN_FAULTY;
    int r = -MIR_EAGAIN;
    switch (op % 9) {
    case 0:
        r = mir_vchan_read(v, buffer, want, &n);
        fuzz_must(r != 0 || n <= want);
        break;
    case 1:
        r = mir_vchan_write(v, buffer, want, &n);
        fuzz_must(r != 0 || n <= want);
        break;
    case 2:
        r = mir_vchan_recv(v, buffer, want);
        break;
    case 3:
        r = mir_vchan_send(v, buffer, want);
        break;
    case 4:
        r = mir_vchan_peek(v, &there, &n);
        if (r == 0) {
            fuzz_must(n <= mir_vchan_read_size(v));
            memcpy(buffer, there, n);
            mir_vchan_consume(v, want % (n + 1));
        }
        break;
    case 5:
        r = mir_vchan_room(v, &room, &n);
        if (r == 0) {
            fuzz_must(n <= mir_vchan_write_size(v));
            memset(room, 0x5a, n);
            mir_vchan_commit(v, want % (n + 1));
        }
        break;
    case 6:
        (void)!mir_vchan_arm(v, want & 3);
        break;
    case 7:
        fuzz_must(mir_vchan_unread(v) <= mir_vchan_write_size(v));
        (void)!mir_vchan_is_drained(v);
        break;
    default:
        (void)mir_vchan_state(v);
    }
    fuzz_must(!was_faulty || r < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t sizes[] = {1024, 2048, 4096, 8192};
    struct fuzz_input in = {data, size};
    uint8_t how = fuzz_u8(&in);
    struct mir_vchan_config config = {.read_bytes = sizes[how & 3],
                                      .write_bytes = sizes[how >> 2 & 3],
                                      .is_persistent = how & 32};
    size_t bytes = 5 * MIR_CHANNEL_PAGE;
    uint8_t *memory = aligned_alloc(MIR_CHANNEL_PAGE, bytes);
    struct mir_channel_pipe_config pipe_config = {.loop = &loop, .memory = memory, .bytes = bytes};
    mir_loop_init(&loop, 1000);
    fuzz_must(mir_channel_pipe_init(&pipe_, &pipe_config) == 0);
    fuzz_must(mir_vchan_serve(&server, mir_channel_pipe_server(&pipe_), &config) == 0);
    struct mir_vchan *v = &server;
    if (how & 16) { /* ours is the client, of a server that wrote anything */
        for (unsigned i = fuzz_u8(&in) % 8; i > 0; i--)
            scribble(&in, memory, bytes);
        v = &client;
        if (mir_vchan_connect(&client, mir_channel_pipe_client(&pipe_), &config) < 0) {
            free(memory);
            return 0;
        }
    }
    for (unsigned i = 0; i < STEPS && in.left > 0; i++) {
        uint8_t op = fuzz_u8(&in);
        if (op & 0x80)
            scribble(&in, memory, bytes);
        else
            call(&in, v, op);
        if (op == 0x7f)
            mir_channel_pipe_crash(&pipe_, how & 16 ? 0 : 1);
    }
    mir_vchan_close(v);
    free(memory);
    return 0;
}
