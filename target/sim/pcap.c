/* SPDX-License-Identifier: ISC */
/* Captures of wires: every frame a wire is offered, as it was offered, with the virtual time.
 *
 * Frames that the wire then loses are in the capture too: it shows what the ends sent. Direction 0
 * is written as outbound, direction 1 as inbound, so a capture looks as if taken at the first end.
 */
#include "target/sim/internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/wire/pcapng.h"

struct mir__sim_pcap {
    FILE *file;
    uint8_t block[70000 + MIR__PCAPNG_PACKET_OVERHEAD + 4];
};

struct mir__sim_pcap *mir__sim_pcap_open(const char *path)
{
    struct mir__sim_pcap *pcap = malloc(sizeof *pcap);
    if (pcap == NULL)
        return NULL;
    pcap->file = fopen(path, "wb");
    if (pcap->file == NULL) {
        free(pcap);
        return NULL;
    }
    size_t len = mir__pcapng_put_section(pcap->block, "mirari sim");
    (void)fwrite(pcap->block, 1, len, pcap->file);
    len = mir__pcapng_put_interface(pcap->block, "wire", 0);
    (void)fwrite(pcap->block, 1, len, pcap->file);
    return pcap;
}

void mir__sim_pcap_write(struct mir__sim_pcap *pcap, unsigned direction, mir_time_us wall_us,
                         struct mir__sim_frame *frame)
{
    /* A borrowed look at the frame in the form the writer takes. */
    struct mir_buf buf = {.data = frame->data, .len = frame->len};
    size_t len = mir__pcapng_put_packet(pcap->block, &buf, frame->len, wall_us,
                                        direction == 0 ? MIR__PCAPNG_OUT : MIR__PCAPNG_IN);
    (void)fwrite(pcap->block, 1, len, pcap->file);
}

int mir__sim_pcap_close(struct mir__sim_pcap *pcap)
{
    bool is_bad = ferror(pcap->file) != 0;
    is_bad |= fclose(pcap->file) != 0;
    free(pcap);
    return is_bad ? -MIR_EIO : 0;
}
